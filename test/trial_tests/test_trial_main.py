from __future__ import annotations

import json
import signal

import pytest
from trial.__main__ import main
from trial_examples import FOUND_LIMITS, LABELS

# An engine whose containers print one text, whatever they run, and end with one exit code.
ENGINE = r"""#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
"image inspect x") cat "$here/image" ;;
"image inspect"*) echo "no such image" >&2; exit 1 ;;
create*) echo 0123 ;;
cp*) cat >/dev/null ;;
start*) cat "$here/stdout"; cat "$here/stderr" >&2; exit "$(cat "$here/code")" ;;
esac
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Return a function that sets what containers do and returns the arguments that use the engine."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    config = {"User": "10001:10001", "Entrypoint": ["python"], "Labels": LABELS}
    about = [{"Os": "linux", "Architecture": "amd64", "Config": config}]
    (tmp_path / "image").write_text(json.dumps(about))
    (tmp_path / "engine").write_text(ENGINE)
    (tmp_path / "engine").chmod(0o755)

    def behave(stdout="", stderr="", code=0):
        for name, text in (("stdout", stdout), ("stderr", stderr), ("code", str(code))):
            (tmp_path / name).write_text(text)
        return ["--engine", str(tmp_path / "engine"), "--memory-gb", "16", "--only", "none", "--methods", "exec"]

    return behave


def test_table_of_a_right_image(engine, capsys):
    found = {"uid": 10001, "cuda": None, "architectures": [], "openvino": 27.0, "limits": FOUND_LIMITS}
    assert main([*engine(json.dumps(found)), "--image", "x"]) == 0
    out, err = capsys.readouterr()
    head, image, limits, verdict = out.splitlines()
    assert head == "check                              result       time    memory  remarks"
    assert image.split("  ")[0] == "image"
    assert image.endswith("user 10001:10001; architecture linux/amd64; api-method exec")
    assert limits == f"{'limits':34} {'ok (13)':8} {'':8} {'':9}  16 GiB, 8 shared, 15 data; 300 s a case"
    assert verdict.startswith("x: all checks passed, ")
    assert err == ""


def test_failed_check_is_named_below_its_row(engine, capsys):
    assert main([*engine(stderr="sh: python: not found\n", code=127), "--image", "x"]) == 1
    _, image, check, verdict = capsys.readouterr().out.splitlines()
    assert image == f"{'image':34} 1 FAILED"
    assert check == "    FAILED image has Python with torch: sh: python: not found"
    assert verdict.startswith("x: 1 check(s) FAILED, ")


def test_failure_of_the_engine_is_one_line(engine, capsys):
    arguments = engine()
    assert main([*arguments, "--image", "y"]) == 1
    assert capsys.readouterr() == ("", f"{arguments[1]} image: no such image\n")
