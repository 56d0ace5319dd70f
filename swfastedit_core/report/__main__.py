"""Write a report: ``python -m swfastedit_core.report --pet FILE --mask FILE --output DIR``."""

from __future__ import annotations

import sys

from swfastedit_core.system.command import run_command
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

LEAST = LeastMemory(address_space=1_200_000_000, data=420_000_000)  # bytes for libraries and a small scan


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""

    def work(_: object) -> None:
        from swfastedit_core.report.command import run  # after the check of the memory

        run(sys.argv[1:] if arguments is None else arguments)

    return run_command(work, least=LEAST)


if __name__ == "__main__":
    sys.exit(supervise(main))
