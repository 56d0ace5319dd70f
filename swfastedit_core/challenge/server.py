"""The server of the platform's invoke method: the networks are loaded once, each call segments a case.

``GET /health`` answers 503 until the networks are loaded, then 200. ``POST /invoke`` segments the case in ``/input``
and answers 201; it answers 422 for a case that cannot be used and 500 for any other failure. The server continues
after a failure.

The main thread segments, one case at a time in the order of the calls. A second thread answers HTTP. So a signal
interrupts a case at once, and ``/health`` answers while a case runs.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TextIO

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Failure, Stopped, attempt, say

Records = list[dict[str, Any]]
Call = Future[tuple[Failure | None, Records]]  # of ``POST /invoke``; its result is set when the case is finished


def serve(load: Callable[[], Callable[[], Records]], *, port: int, stderr: TextIO) -> None:
    """Answer calls until SIGTERM. The signal raises an exception, which also interrupts a running case.

    Parameters
    ----------
    load
        Loads the networks and returns the function that segments a case. That function returns the records of the
        case, as values for JSON.
    port
        Port to listen on, on all interfaces.
    stderr
        Stream for the reasons of failures; one line for each.

    Raises
    ------
    UserError
        If the port is taken. Errors of `load` are passed on.
    """
    try:
        listening = socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be opened ({os.strerror(error.errno or 0)}); is the program running already?"
        ) from error
    ready, calls = Event(), SimpleQueue[Call]()
    settings = uvicorn.Config(_application(ready, calls), log_config=None, access_log=False, lifespan="off")
    Thread(target=uvicorn.Server(settings).run, args=([listening],), daemon=True).start()
    segment_case = load()
    ready.set()
    working = False
    try:
        while True:
            call = calls.get()
            if call.set_running_or_notify_cancel():  # False: the client closed the connection
                working = True
                result = _attempt(segment_case, stderr)
                working = False
                call.set_result(result)
    except Stopped:
        if working:
            raise
        say("stopped")  # the normal end of a server


def _attempt(segment_case: Callable[[], Records], stderr: TextIO) -> tuple[Failure | None, Records]:
    records: Records = []
    failure = attempt(lambda: records.extend(segment_case()))
    if failure:
        print(failure.reason, file=stderr, flush=True)
    return failure, records


def _application(ready: Event, calls: SimpleQueue[Call]) -> Starlette:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ready": True}) if ready.is_set() else _refusal(503, "the networks are being loaded")

    async def invoke(request: Request) -> JSONResponse:
        # The platform sends an empty body. Another body must be read completely, otherwise the client waits.
        async for _ in request.stream():
            pass
        if not ready.is_set():
            return _refusal(503, "the networks are being loaded")
        call: Call = Future()
        calls.put(call)
        failure, records = await asyncio.wrap_future(call)
        if failure:
            return _refusal(422 if failure.expected else 500, failure.reason)
        return JSONResponse({"reports": records}, 201)

    return Starlette(routes=[Route("/health", health), Route("/invoke", invoke, methods=["POST"])])


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
