from __future__ import annotations

import json
import os
import subprocess
import sys

from places import ROOT
from trial_examples import SEEN


def test_a_container_tells_what_it_sees():
    done = subprocess.run(
        [sys.executable, str(ROOT / "test/trial/probe.py")], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert (told["uid"], told["limits"].keys()) == (os.getuid(), SEEN.keys())
    assert told["limits"]["/output"] in ("no folder", *(f"{mode}, writable, empty" for mode in ("755", "777")))
