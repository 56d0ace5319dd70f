"""The Python script of the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.long
def test_script_of_the_readme_works_when_it_is_saved_elsewhere(tmp_path):
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    scan = ROOT / "test/input/images/pet/phantom_33_0000.mha"
    text = text.replace('"weights"', repr(str(ROOT / "weights"))).replace('"scan.nii.gz"', repr(str(scan)))
    (tmp_path / "script.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+\.\d ml in 14 windows\n", done.stdout)
    assert (tmp_path / "lesions.nii.gz").is_file()
