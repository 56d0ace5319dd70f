"""OpenVINO without its conversion tools.

The package imports them as well, and their import reports itself to its makers over the network. Nothing here needs
them, and nobody's scans are anybody's statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

TOOLS = "openvino.tools.ovc"


@contextmanager
def _without_tools() -> Iterator[None]:
    """Let the import of the tools fail meanwhile, which the package takes for "not installed"."""
    if "openvino" in sys.modules:  # somebody else's import: what is there is there
        yield
        return
    sys.modules[TOOLS] = None  # type: ignore[assignment] # Python documents None there, typeshed does not
    try:
        yield
    finally:
        del sys.modules[TOOLS]


with _without_tools():
    import openvino
    from openvino import opset13

__all__ = ["openvino", "opset13"]
