"""The server in this process: what callers see during the start, a case and the end."""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from served import Work, ask, free_port, http_threads, serving

from swfastedit_core.challenge import server as server_module
from swfastedit_core.challenge.port import open_port
from swfastedit_core.challenge.server import serve
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Stopped, run_command


def test_a_second_call_waits_and_health_answers_meanwhile(capfd):
    port, work = free_port(), Work()

    def client():
        with ThreadPoolExecutor(2) as callers:
            first = callers.submit(ask, port, "/invoke", "POST")
            assert work.working.wait(60)
            second = callers.submit(ask, port, "/invoke", "POST")
            health = [ask(port, "/health") for _ in range(3)]
            waiting = (first.done(), second.done(), work.begun, work.done)
            work.go_on.set()
            return health, waiting, first.result(), second.result()

    code, (health, waiting, first, second) = serving(lambda: work, client, port)
    assert health == [(200, {"ready": True})] * 3
    assert waiting == (False, False, 1, 0)  # one after the other, not both at once
    assert first == (201, {"reports": [{"case": 1}]})
    assert second == (201, {"reports": [{"case": 2}]})
    assert code == 0
    assert capfd.readouterr() == ("stopped\n", "")
    assert http_threads() == []


def test_health_is_held_until_the_networks_are_there_and_calls_wait_for_them():
    port, go_on = free_port(), threading.Event()

    def prepare():
        assert go_on.wait(60)
        return lambda: [{"case": 1}]

    def client():
        with ThreadPoolExecutor(2) as callers:
            health = callers.submit(ask, port, "/health")
            call = callers.submit(ask, port, "/invoke", "POST")
            time.sleep(0.3)
            early = (health.done(), call.done())
            go_on.set()
            return early, health.result(), call.result()

    _, (early, health, call) = serving(prepare, client, port)
    assert early == (False, False)
    assert health == (200, {"ready": True})
    assert call == (201, {"reports": [{"case": 1}]})


def test_health_is_503_if_the_start_takes_longer_than_a_call_may(monkeypatch):
    assert server_module.HEALTH_SECONDS < 10  # the platform's limit
    monkeypatch.setattr(server_module, "HEALTH_SECONDS", 0.2)
    port, go_on = free_port(), threading.Event()

    def prepare():
        assert go_on.wait(60)
        return lambda: []

    def client():
        early = ask(port, "/health")
        go_on.set()
        return early, ask(port, "/health")[0]

    _, answers = serving(prepare, client, port)
    assert answers == ((503, {"detail": "the networks are being loaded"}), 200)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("no weights"), "no weights"),
        (MemoryError(), "out of memory: the scan does not fit this machine"),
        (ModuleNotFoundError("x", name="torch"), "the package 'torch' is missing"),
        (OSError(5, "I/O error"), "unexpected OSError"),
    ],
)
def test_reason_of_a_failed_start_is_the_answer_of_every_call(error, reason, capfd):
    port = free_port()

    def prepare():
        raise error

    code, (health, first, second) = serving(
        prepare, lambda: (ask(port, "/health"), ask(port, "/invoke", "POST"), ask(port, "/invoke", "POST")), port
    )
    assert health == (200, {"ready": True})
    assert first == second
    assert first[0] == 500
    assert first[1]["detail"].startswith(reason)
    assert capfd.readouterr().err == f"{first[1]['detail']}\n" * 3
    assert code == 0


def test_sigterm_during_a_case_answers_all_callers(capfd):
    port, work = free_port(), Work()
    answers = []

    def call():
        answers.append(ask(port, "/invoke", "POST"))

    callers = [threading.Thread(target=call) for _ in range(3)]

    def client():
        for caller in callers:
            caller.start()
        assert work.working.wait(60)
        while ask(port, "/health")[0] != 200:
            pass
        time.sleep(0.2)

    code, _ = serving(lambda: work, client, port)
    for caller in callers:
        caller.join(30)
    assert code == 143
    assert answers == [(500, {"detail": "the program was ended"})] * 3
    assert capfd.readouterr() == ("", "ended by SIGTERM\n")
    assert http_threads() == []


def test_sigterm_during_the_start_ends_with_one_line(capfd):
    port, seen = free_port(), []
    callers = []

    def prepare():
        caller = threading.Thread(target=lambda: seen.append(ask(port, "/health")[0]))
        callers.append(caller)
        caller.start()
        threading.Event().wait(60)

    def client():
        time.sleep(0.3)

    begin = time.monotonic()
    code, _ = serving(prepare, client, port)
    callers[0].join(30)
    assert code == 143
    assert seen == [503]
    assert capfd.readouterr() == ("", "ended by SIGTERM\n")
    assert time.monotonic() - begin < 20
    assert http_threads() == []


def test_signal_between_a_case_and_its_answer_ends_the_server_as_it_should(monkeypatch, capsys):
    class Interrupted(server_module.Future):
        def set_result(self, result):
            super().set_result(result)
            if result is not True:  # the end of the start is a result, too
                raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(server_module, "Future", Interrupted)
    port, seen = free_port(), []

    def prepare():
        caller.start()
        return lambda: [{"case": 1}]

    caller = threading.Thread(target=lambda: seen.append(ask(port, "/invoke", "POST")[0]))
    server_module.serve(prepare, listening=open_port("127.0.0.1", port), stderr=sys.stderr)
    caller.join(30)
    assert seen == [201]
    assert capsys.readouterr().out == "stopped\n"


def swallow_sigterm():
    """Import as torch does: its C++ code drops whatever is raised while it imports numpy."""
    with suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def half_a_minute():
    """Fail a test whose server does not end."""

    def fail(*_):
        raise TimeoutError("the server waits for calls")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def ended(load):
    """Return the exit code of a server that nobody calls."""
    listening = open_port("127.0.0.1", free_port())
    return run_command(lambda stderr: serve(load, listening=listening, stderr=stderr))


@pytest.mark.usefixtures("half_a_minute")
def test_start_that_a_swallowed_signal_broke_is_no_reason_of_calls(capfd):
    def load():
        swallow_sigterm()
        raise ImportError("cannot load module more than once per process")

    assert ended(load) == 143
    assert capfd.readouterr() == ("", "ended by SIGTERM\n")
    assert http_threads() == []


@pytest.mark.usefixtures("half_a_minute")
def test_signal_that_the_start_swallowed_ends_the_server_before_the_first_call(capfd):
    def load():
        swallow_sigterm()
        return Work()

    assert ended(load) == 0
    assert capfd.readouterr() == ("stopped\n", "")


@pytest.mark.usefixtures("half_a_minute")
def test_signal_that_a_case_swallowed_ends_the_server_after_the_case(capfd):
    port = free_port()
    listening = open_port("127.0.0.1", port)

    def case():
        swallow_sigterm()
        return [{"case": 1}]

    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(ask, port, "/invoke", "POST")
        code = run_command(lambda stderr: serve(lambda: case, listening=listening, stderr=stderr))
    assert answer.result() == (201, {"reports": [{"case": 1}]})
    assert code == 0
    assert capfd.readouterr() == ("stopped\n", "")
