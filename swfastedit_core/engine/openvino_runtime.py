"""OpenVINO without its conversion tools.

`import openvino` also imports the conversion tools, whose import sends a usage report over the internet. This
program does not need them, so their import is blocked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

TOOLS = "openvino.tools.ovc"


@contextmanager
def _without_tools() -> Iterator[None]:
    """Block the import of the tools; the package then treats them as not installed."""
    if "openvino" in sys.modules:  # imported by other code before; nothing can be blocked
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
