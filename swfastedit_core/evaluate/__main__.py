"""Score masks against labels: ``python -m swfastedit_core.evaluate --predictions DIR --labels DIR --output DIR``."""

from __future__ import annotations

import sys
from typing import TextIO

from swfastedit_core.system.command import run_command
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

LEAST = LeastMemory(address_space=1_300_000_000, data=500_000_000)  # bytes for libraries and small masks


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""

    def work(stderr: TextIO) -> None:
        from swfastedit_core.evaluate.command import run  # after the check of the memory

        run(sys.argv[1:] if arguments is None else arguments, stderr=stderr)

    return run_command(work, least=LEAST)


if __name__ == "__main__":
    sys.exit(supervise(main))
