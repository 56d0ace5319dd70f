from __future__ import annotations

from dataclasses import replace

import pytest
from trial import server as server_module
from trial.containers import Engine
from trial.limits import temporary_folders
from trial.server import start_server
from trial_examples import IMAGE, LIMITS

# An engine with one container: the server has process 7, and process 8 remains after the first call.
ENGINE = r"""#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
create*) echo 0123 ;;
cp*) cat >/dev/null ;;
start*)
    echo $$ >"$here/pid"
    echo ready
    trap 'exit 143' TERM
    until [ -f "$here/crash" ]; do sleep 0.02; done
    echo "no memory" >&2
    exit 4
    ;;
"exec 0123 sh "*)
    printf '12345\n7 worker\n'
    [ ! -f "$here/called" ] || echo 8 sleep 60
    ;;
*"GET /health"*) [ -f "$here/pid" ] && printf '200\n{"ready": true}' || printf '0\nrefused' ;;
*"POST /invoke"*)
    [ ! -f "$here/called" ] || { touch "$here/crash"; printf '0\nreset'; exit; }
    touch "$here/called"
    printf '201\n{}'
    ;;
diff*) echo "C /opt" ;;
kill*) kill -TERM "$(cat "$here/pid")" ;;
rm*) touch "$here/removed" ;;
esac
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "engine").write_text(ENGINE)
    (tmp_path / "engine").chmod(0o755)
    return Engine(str(tmp_path / "engine"), gpu=False)


def test_server_is_healthy_called_and_stopped(engine, tmp_path):
    with temporary_folders() as folders, start_server(engine, IMAGE, folders, LIMITS, ["python"]) as server:
        health = server.wait_until_healthy()
        assert (health.code, health.answer, health.server_exit_code) == (200, b'{"ready": true}', None)
        assert (health.left_processes, health.peak_bytes, health.changes) == ([], 12345, {"C /opt"})
        call = server.invoke()
        assert (call.code, call.answer, call.stderr, call.left_processes) == (201, b"{}", b"", ["sleep 60"])
        assert call.lines == []  # "ready" came before the call
        assert server.exit_code is None
        stop = server.stop()
        assert (stop.code, stop.stdout) == (143, b"ready\n")
    assert (tmp_path / "removed").exists()


def test_server_that_ends_during_a_call_is_reported_with_its_exit_code_and_reason(engine):
    with temporary_folders() as folders, start_server(engine, IMAGE, folders, LIMITS, ["python"]) as server:
        server.wait_until_healthy()
        server.invoke()
        call = server.invoke()
        assert (call.code, call.server_exit_code, call.last_line) == (4, 4, "no memory")


def test_server_that_is_not_ready_in_time_is_reported_without_a_code(engine, monkeypatch):
    monkeypatch.setattr(server_module, "LAST_SECONDS", 0.1)
    limits = replace(LIMITS, start_seconds=0.0)
    with temporary_folders() as folders, start_server(engine, IMAGE, folders, limits, ["python"]) as server:
        assert server.wait_until_healthy().code is None
        server.stop()
