"""Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single files.

``process.py --help`` describes its input, output and options; see `swfastedit_core.challenge.options`.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from swfastedit_core.challenge.port import OPTIONS, open_early
from swfastedit_core.system.command import run_command


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""

    def work(stderr: TextIO) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        baked_in = os.environ.get(OPTIONS, "")
        listening = open_early(given, baked_in=baked_in)  # before the imports, which take a second
        import logging

        from swfastedit_core.challenge.api_methods import execute, invoke
        from swfastedit_core.challenge.options import parse

        options = parse(given, baked_in=baked_in)
        level = logging.ERROR if options.quiet else logging.INFO
        logging.basicConfig(stream=sys.stdout, level=level, format="%(message)s")
        if options.api_method == "invoke":
            invoke(options, listening=listening, stderr=stderr)
        else:
            if listening:  # for a scan on the command line of an image that is built for calls
                listening.close()
            execute(options)

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
