"""Programs that cannot report their own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from places import ROOT

NATIVE_LOOP = "import ctypes; ctypes.PyDLL(None).pause(); ctypes.PyDLL(None).sleep(60)"  # keeps the interpreter's lock


def start(body, *, grace="1.5", before=()):
    """Start a supervised program that does `body`."""
    code = f"""
import os, signal, sys, time
from swfastedit_core.system.command import run_command
from swfastedit_core.system import supervisor
supervisor.SHUTDOWN_SECONDS = 0.5
def work(_):
{textwrap.indent(body, "    ")}
sys.exit(supervisor.supervise(lambda: run_command(work), grace_seconds={grace}))
"""
    command = [*before, sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(body, **more):
    process = start(body, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_exit_code_and_streams_are_those_of_the_program():
    assert finish("print('done')") == (0, "done\n", "")
    code, _, err = finish("raise ValueError('odd')")
    assert (code, err) == (1, "unexpected ValueError: odd; standard output has the details\n")
    assert finish("raise SystemExit(7)") == (7, "", "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.abort()", "the program was ended by SIGABRT, out of memory or by a defect"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out of memory: the program was ended by SIGKILL"),
        ("os._exit(0)", "the program was ended by a library, out of memory or by a defect"),
    ],
)
def test_end_by_a_library_or_the_system_is_one_line_and_exit_code_1(body, words):
    code, _, err = finish(body)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith(words)


def test_abort_under_a_limit_names_the_limit():
    before = ("sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh")
    assert finish("os.abort()", before=before)[2] == (
        "out of memory or a defect: the program was ended by SIGABRT; raise the limit (ulimit -v: 2.0 GB), or use a "
        "smaller scan\n"
    )


def test_abort_leaves_no_core():
    code, out, _ = finish("import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])")
    assert (code, out) == (0, "0\n")


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [(signal.SIGTERM, 143, "ended by SIGTERM\n"), (signal.SIGINT, 130, "interrupted\n")],
)
def test_program_that_is_deaf_in_a_library_is_killed_after_a_signal(sent, code, line):
    process = start(f"print('deaf', flush=True)\n{NATIVE_LOOP}", grace="0.2")
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(sent)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, line)
    assert time.monotonic() - began < 30


def test_program_that_hears_a_signal_cleans_up_and_is_not_killed():
    body = "try:\n    print('up', flush=True); time.sleep(60)\nfinally:\n    print('clean')"
    process = start(body, grace="30")
    process.stdout.readline()
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (143, "clean\n", "ended by SIGTERM\n")


def test_program_without_a_time_limit_saves_its_work_first():
    body = "try:\n    print('up', flush=True); time.sleep(60)\nfinally:\n    time.sleep(0.5); print('saved')"
    process = start(body, grace="None")
    process.stdout.readline()
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "saved\n")


def test_thread_that_never_ends_does_not_keep_the_program():
    body = "import threading; threading.Thread(target=time.sleep, args=(600,)).start()"
    assert finish(body) == (0, "", "")


def test_program_ends_with_its_supervisor():
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    program = psutil.Process(int(process.stdout.readline()))
    assert program.ppid() == process.pid
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs([program], timeout=30)
    assert (gone, alive) == ([program], [])


def test_ignored_hangup_stays_ignored():
    process = start("print('up', flush=True); time.sleep(1); print('end')", before=("nohup",))
    process.stdout.readline()
    os.kill(process.pid, signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "end\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_signal_to_the_whole_group_comes_once(number, seconds):
    """As Ctrl-C in a terminal. A second signal would interrupt the end of the program."""
    process = start(
        "try:\n    print('works', flush=True)\n    time.sleep(60)\nfinally:\n    time.sleep(0.3)",
        before=(sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"),
    )
    assert process.stdout.readline() == "works\n"
    time.sleep(seconds)
    os.killpg(process.pid, number)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    expected = (130, "interrupted\n") if number == signal.SIGINT else (143, "ended by SIGTERM\n")
    assert (process.returncode, err) == expected


def test_ctrl_z_stops_the_program_until_it_is_continued():
    process = start("print('works', flush=True)\ntime.sleep(60)")
    assert process.stdout.readline() == "works\n"
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    process.send_signal(signal.SIGTSTP)
    wait_for(lambda: [one.status() for one in family] == ["stopped"] * 2)
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: "stopped" not in [one.status() for one in family])
    process.terminate()
    assert process.communicate(timeout=60)[1] == "ended by SIGTERM\n"


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("the condition did not come true")
