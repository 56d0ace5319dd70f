"""Trials of a server of the method `invoke`."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.trial_programs import MASKS, require, serving
from swfastedit_core.files.write import is_own_mask

GROWTH_MB = 60.0  # between the level after a tenth of the calls and the last one; allocators vary by tens of MB


def memory_over_calls(folder: Path, *, quick: bool) -> str:
    """Call one server many times; its memory must stay level."""
    calls = 10 if quick else 200
    with serving(folder) as server:
        levels = []
        for _ in range(calls):
            server.segment()
            levels.append(server.resident_mb())
        early, last = levels[calls // 10], levels[-1]
    require(last - early < GROWTH_MB, f"{early:.0f} MB after {calls // 10} calls, {last:.0f} MB after {calls}")
    return f"{early:.0f} MB after call {calls // 10}, {last:.0f} MB after call {calls}"


def clients_at_once(folder: Path, *, quick: bool) -> str:
    """Call a server from many clients at the same time; each gets its answer, and so does /health meanwhile."""
    clients = 5 if quick else 50
    with serving(folder) as server, ThreadPoolExecutor(clients) as pool:
        calls = [pool.submit(server.segment) for _ in range(clients)]
        begin = time.monotonic()
        status, _ = server.ask("GET", "/health", seconds=30)
        seconds = time.monotonic() - begin
        for one in calls:
            one.result()
        require(status == 200, f"/health answered {status} while calls ran")
        require(is_own_mask(server.output / MASKS / "scan.mha"), "the mask is not complete")
    return f"{clients} of {clients} answered with 201; /health within {seconds:.1f} s meanwhile"


def slow_connections(folder: Path, *, quick: bool) -> str:
    """Open connections that send half a request and wait; other calls must be answered."""
    count = 30 if quick else 300
    with serving(folder) as server, ExitStack() as opened:
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            connection.sendall(b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        begin = time.monotonic()
        status, _ = server.ask("GET", "/health", seconds=30)
        seconds = time.monotonic() - begin
        server.segment()
        require(status == 200, f"/health answered {status}")
    return f"/health within {seconds:.1f} s and /invoke with 201 beside {count} half requests"
