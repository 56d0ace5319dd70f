from __future__ import annotations

from pathlib import Path

import pytest
from trial.containers import Engine, parse_report


def test_report_is_parsed_into_peak_and_processes():
    assert parse_report("12345\n7 sleep 60 \n19 python -c x\n") == (12345, {7: "sleep 60", 19: "python -c x"})
    assert parse_report("7 sleep 60 \n") == (None, {7: "sleep 60"})
    assert parse_report("") == (None, {})


def test_warnings_of_an_engine_are_kept_once(tmp_path):
    engine = Engine(str(tmp_path / "engine"))
    Path(engine.command).write_text(
        "#!/bin/sh\necho id\necho 'WARNING: no swap limit' >&2\necho 'time=\"'$1'\" level=warning' >&2\nexit $2\n"
    )
    Path(engine.command).chmod(0o755)
    assert [engine("create", "0"), engine("start", "0")] == ["id\n", "id\n"]
    assert engine.warnings == ["WARNING: no swap limit", "level=warning"]
    with pytest.raises(RuntimeError, match="engine start: WARNING: no swap limit"):
        engine("start", "1")
