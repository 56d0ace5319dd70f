"""Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single scans.

``process.py --help`` describes its input, output and options; see `swfastedit_core.challenge.options`.
"""

from __future__ import annotations

import sys

from swfastedit_core.challenge.command import main
from swfastedit_core.system.supervisor import supervise

if __name__ == "__main__":
    sys.exit(supervise(main))
