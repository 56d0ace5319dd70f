"""A copy of the repository."""

from __future__ import annotations

import pytest
from clones import Clone


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)
