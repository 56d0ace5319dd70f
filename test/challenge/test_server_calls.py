"""The server in this process: what callers see, from well-behaved ones to clients that leave or send nothing."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse

import pytest
from served import ask, free_port, serving

from swfastedit_core.challenge import server as server_module
from swfastedit_core.challenge.port import open_port
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Stopped

CALL = b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Work:
    """A function that segments in tests: it counts, and each case waits until `go_on` is set."""

    def __init__(self):
        self.begun, self.done = 0, 0
        self.working, self.go_on = threading.Event(), threading.Event()

    def __call__(self):
        self.begun += 1
        self.working.set()
        assert self.go_on.wait(60)
        self.done += 1
        return [{"case": self.done}]


def open_call(port):
    """Send a call; return its connection, unread."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(CALL)
    return connection


def read(connection):
    """Return status and JSON of the answer, and close the connection."""
    with connection, HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, json.load(answer)


def http_threads():
    return [thread for thread in threading.enumerate() if thread.name == "http"]


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


def test_call_whose_client_has_gone_is_not_segmented():
    port, work = free_port(), Work()

    def client():
        with open_call(port) as first:
            assert work.working.wait(60)
            gone = [open_call(port) for _ in range(3)]
            with open_call(port) as last:
                ask(port, "/health")  # now all calls have arrived
                for connection in gone:
                    connection.close()
                ask(port, "/health")
                time.sleep(0.1)
                work.go_on.set()
                return [read(first), read(last)]

    _, answers = serving(lambda: work, client, port)
    assert answers == [(201, {"reports": [{"case": number}]}) for number in (1, 2)]
    assert work.begun == 2


def test_case_whose_client_has_gone_is_finished_and_the_next_one_answered():
    port, work = free_port(), Work()

    def client():
        with open_call(port):
            assert work.working.wait(60)
        ask(port, "/health")
        work.go_on.set()
        return ask(port, "/invoke", "POST")

    _, answer = serving(lambda: work, client, port)
    assert (work.begun, work.done) == (2, 2)
    assert answer == (201, {"reports": [{"case": 2}]})


def test_fifty_callers_are_answered_in_the_order_of_their_calls():
    port, work = free_port(), Work()

    def client():
        calls = []
        for _ in range(50):
            calls.append(open_call(port))
            ask(port, "/health")  # the call has arrived
        work.go_on.set()
        return [read(call) for call in calls]

    _, answers = serving(lambda: work, client, port)
    assert answers == [(201, {"reports": [{"case": number}]}) for number in range(1, 51)]


def test_three_hundred_slow_connections_do_not_block_a_call(capfd):
    port = free_port()
    whole = CALL.replace(b"Length: 0", b"Length: 1000")

    def client():
        slow = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(300)]
        for byte in range(3):
            for number, connection in enumerate(slow):
                if number % 3:  # the first third sends nothing, the second a byte at a time, the third no body
                    connection.sendall(whole[byte : byte + 1] if number % 3 == 1 else (whole, b"1", b"2")[byte])
        begin = time.monotonic()
        answers = ask(port, "/health")[0], ask(port, "/invoke", "POST")[0]
        seconds = time.monotonic() - begin
        return answers, seconds, slow

    begin = time.monotonic()
    code, (answers, seconds, slow) = serving(lambda: lambda: [], client, port)
    assert answers == (200, 201)
    assert seconds < 5
    assert code == 0
    assert time.monotonic() - begin < 20  # the end waits for none of them
    assert capfd.readouterr() == ("stopped\n", "")
    assert http_threads() == []
    for connection in slow:
        connection.close()


def test_what_is_no_http_is_refused_and_prints_nothing(capfd):
    port = free_port()

    def client():
        for sent in (b"\x16\x03\x01\x02\x00hello\r\n\r\n", b"GET " + b"x" * 100_000, b"\r\n" * 10):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(sent)
        with socket.create_connection(("127.0.0.1", port)) as connection:  # leaves in the middle of the body
            connection.sendall(CALL.replace(b"Length: 0", b"Length: 1000") + b"abc")
        return ask(port, "/invoke", "POST")[0]

    assert serving(lambda: lambda: [], client, port) == (0, 201)
    assert capfd.readouterr() == ("stopped\n", "")


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
