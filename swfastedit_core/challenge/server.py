"""The server of the platform's invoke method: the networks are loaded once, each call segments a case.

``POST /invoke`` segments the case in ``/input`` and answers 201; it answers 422 for a case that cannot be used and 500
for any other failure. The server continues after a failure.

``GET /health`` answers 200 when the start has ended, also a start that failed: then each call answers 500 with the
reason. A server that exits instead is asked for its health for 300 s, and the platform never shows the reason. During
the start the answer is held, for eight seconds at most, then it is 503. Calls during the start wait for its end.

The main thread segments, one case at a time in the order of the calls. A second thread answers HTTP. So a signal
interrupts a case at once, and ``/health`` answers while a case runs. A waiting call whose client closes the connection
is dropped. A case that runs is finished although its client has gone: the mask may have been written already, and the
platform ends the program after such a call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TextIO

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from swfastedit_core.system.command import Failure, Stopped, attempt, say
from swfastedit_core.system.signals import raise_swallowed_stop

Records = list[dict[str, Any]]
Answer = tuple[Failure | None, Records]
Call = Future[Answer]  # of ``POST /invoke``; its result is set when the case is finished

HEALTH_SECONDS = 8.0  # the platform allows ten for an answer, and sleeps for ten after each that is not 200
END_SECONDS = 1  # for answers that are on their way when the server ends; the platform kills after five
ENDED: Answer = (Failure("the program was ended", expected=False), [])


def serve(load: Callable[[], Callable[[], Records]], *, listening: socket.socket, stderr: TextIO) -> None:
    """Answer calls until SIGTERM. The signal raises an exception, which also interrupts a running case or the start.

    Parameters
    ----------
    load
        Loads the networks and returns the function that segments a case. That function returns the records of the
        case, as values for JSON.
    listening
        Socket of the port; it is closed at the end.
    stderr
        Stream for the reasons of failures; one line for each.
    """
    started, calls = Future[bool](), SimpleQueue[Call]()
    with _answering(_application(started, calls), listening):
        try:
            answer = _start(load, stderr)
            started.set_result(True)
            _work(calls, answer)
        finally:
            if not started.done():
                started.set_result(False)
            _refuse_waiting(calls)


def _work(calls: SimpleQueue[Call], answer: Callable[[], Answer]) -> None:
    """Answer calls until a signal; raise it if it interrupts a case, or is Ctrl-C."""
    call: Call | None = None
    try:
        while True:
            raise_swallowed_stop()  # by the start, or by the case before
            call = calls.get()
            if call.set_running_or_notify_cancel():  # False: the client has closed the connection
                call.set_result(answer())
    except (Stopped, KeyboardInterrupt) as stopped:
        if call is not None and not call.done() and (call.running() or call.set_running_or_notify_cancel()):
            call.set_result(ENDED)
            raise
        if isinstance(stopped, KeyboardInterrupt):
            raise
        say("stopped")  # the normal end of a server


def _refuse_waiting(calls: SimpleQueue[Call]) -> None:
    with suppress(Empty):
        while True:
            call = calls.get_nowait()
            if call.set_running_or_notify_cancel():
                call.set_result(ENDED)


def _start(load: Callable[[], Callable[[], Records]], stderr: TextIO) -> Callable[[], Answer]:
    """Return the function that answers calls. After a failed start it answers with the reason."""
    loaded: list[Callable[[], Records]] = []
    failure = attempt(lambda: loaded.append(load()))
    if failure is None:
        return lambda: _segment(loaded[0], stderr)
    refusal = Failure(failure.reason, expected=False)  # not the fault of a case
    _print(refusal, stderr)

    def refuse() -> Answer:
        _print(refusal, stderr)  # the platform shows the last line
        return refusal, []

    return refuse


def _segment(segment_case: Callable[[], Records], stderr: TextIO) -> Answer:
    records: Records = []
    failure = attempt(lambda: records.extend(segment_case()))
    if failure:
        _print(failure, stderr)
    return failure, records


def _print(failure: Failure, stderr: TextIO) -> None:
    with suppress(OSError):  # its reader has ended; the caller gets the reason all the same
        print(failure.reason, file=stderr, flush=True)


@contextmanager
def _answering(application: Starlette, listening: socket.socket) -> Iterator[None]:
    """Answer HTTP in a thread, which ends with the block."""
    settings = uvicorn.Config(
        application,
        log_config=None,
        log_level="error",  # a client that sends no HTTP is no news
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=END_SECONDS,
    )
    server = uvicorn.Server(settings)
    thread = Thread(target=server.run, args=([listening],), name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # clients that are cut off now are no news
        server.should_exit = True
        thread.join(2 * END_SECONDS)


def _application(started: Future[bool], calls: SimpleQueue[Call]) -> Starlette:
    async def health(_: Request) -> JSONResponse:
        await asyncio.wait([asyncio.wrap_future(started)], timeout=HEALTH_SECONDS)
        ready = started.done() and started.result()
        return JSONResponse({"ready": True}) if ready else _refusal(503, "the networks are being loaded")

    async def invoke(request: Request) -> Response:
        # The platform sends an empty body. Another body must be read completely, otherwise the client waits.
        try:
            async for _ in request.stream():
                pass
        except ClientDisconnect:
            return Response()  # nobody reads it
        call: Call = Future()
        calls.put(call)
        answer: asyncio.Future[Answer] = asyncio.wrap_future(call)
        gone = asyncio.ensure_future(_wait_for_disconnect(request))
        either: list[asyncio.Future[Any]] = [answer, gone]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not answer.done():
            call.cancel()  # has no effect on a case that runs
            return Response()
        failure, records = answer.result()
        if failure:
            return _refusal(422 if failure.expected else 500, failure.reason)
        return JSONResponse({"reports": records}, 201)

    return Starlette(routes=[Route("/health", health), Route("/invoke", invoke, methods=["POST"])])


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
