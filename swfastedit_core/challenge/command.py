"""The commands ``process.py`` and ``swfastedit``."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from swfastedit_core.challenge.port import OPTIONS, open_early
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import run_command
from swfastedit_core.system.limits import LeastMemory
from swfastedit_core.system.supervisor import supervise

LEAST = LeastMemory(address_space=1_600_000_000, data=500_000_000)  # bytes for libraries, weights and a small scan


def main(arguments: list[str] | None = None, *, program: str = "process.py") -> int:
    """Run the program; return its exit code.

    Parameters
    ----------
    arguments
        Words of the command line; None takes those of the process.
    program
        How the user calls it, for the help.
    """

    def work(stderr: TextIO) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        baked_in = os.environ.get(OPTIONS, "")
        listening = open_early(given, baked_in=baked_in)  # before the imports, which take a second
        import logging

        from swfastedit_core.challenge.api_methods import execute, invoke, refuse_calls
        from swfastedit_core.challenge.batch import segment_scans
        from swfastedit_core.challenge.options import parse

        try:
            options = parse(given, baked_in=baked_in, program=program)
        except UserError as error:
            if given or listening is None:
                raise
            refuse_calls(error, listening=listening, stderr=stderr)  # the options of an image
            return
        level = logging.ERROR if options.quiet else logging.INFO
        logging.basicConfig(stream=sys.stdout, level=level, format="%(message)s")
        if options.api_method == "invoke":
            invoke(options, listening=listening, stderr=stderr)
            return
        if listening:  # scans are named, in an image that is built for calls
            listening.close()
        if options.pets:
            segment_scans(options, stderr=stderr)
        else:
            execute(options)

    return run_command(work, least=LEAST)


def swfastedit() -> int:
    """Run the command that an installation of the package brings."""
    return supervise(lambda: main(program="swfastedit"))
