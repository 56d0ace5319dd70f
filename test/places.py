"""Where the repository and the real scans are, and the marker of the tests that need these scans."""

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
STS_001 = SHARED / "data" / "sts_001"
CROPS = SHARED / "data" / "sts_crops"


def real(folder: Path) -> Callable[[Callable], Callable]:
    """Return a decorator that marks a test as `real` and skips it where `folder` does not exist."""
    reason = f"needs the real scans in ../{folder.relative_to(ROOT.parent)}"

    def decorate(test: Callable) -> Callable:
        return pytest.mark.real(pytest.mark.skipif(not folder.is_dir(), reason=reason)(test))

    return decorate
