"""Show and convert weights: ``python -m swfastedit_core.checkpoint show|convert``."""

from __future__ import annotations

import sys

from swfastedit_core.system.command import run_command
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

LEAST = LeastMemory(address_space=1_000_000_000, data=250_000_000)  # bytes for torch and small weights


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""

    def work(_: object) -> None:
        from swfastedit_core.checkpoint.command import run  # after the check of the memory

        run(sys.argv[1:] if arguments is None else arguments)

    return run_command(work, least=LEAST)


if __name__ == "__main__":
    sys.exit(supervise(main))
