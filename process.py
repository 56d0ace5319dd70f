"""Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single files.

``process.py --help`` describes its input, output and options; see `swfastedit_core.challenge.options`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from swfastedit_core.system.command import run_command
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

LEAST = LeastMemory(address_space=1_600_000_000, data=500_000_000)  # bytes for libraries, weights and a small scan


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""

    def work(stderr: TextIO) -> None:
        from swfastedit_core.challenge.api_methods import execute, invoke
        from swfastedit_core.challenge.options import OPTIONS, parse

        given = sys.argv[1:] if arguments is None else arguments
        options = parse(given, baked_in=os.environ.get(OPTIONS, ""))
        level = logging.ERROR if options.quiet else logging.INFO
        logging.basicConfig(stream=sys.stdout, level=level, format="%(message)s")
        if options.api_method == "invoke":
            invoke(options, stderr=stderr)
        else:
            execute(options)

    return run_command(work, least=LEAST)


if __name__ == "__main__":
    sys.exit(supervise(main))
