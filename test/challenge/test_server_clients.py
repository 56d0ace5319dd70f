"""The server in this process, and clients that leave, send nothing, or are many."""

from __future__ import annotations

import socket
import time

from served import CALL, Work, ask, free_port, http_threads, open_call, read, serving


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
