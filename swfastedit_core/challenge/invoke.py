"""The server of the platform's invoke method: the networks are loaded once, each call segments a case.

``GET /health`` answers 503 until the networks are loaded, then 200. ``POST /invoke`` segments the case in ``/input``
and answers 201; it answers 422 for a case that cannot be used and 500 for any other failure. The server goes on after
a failure.

The main thread segments, one case at a time in the order of the calls. A second thread answers HTTP. So a signal
interrupts the work at once, and health is answered during it.
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

Reports = list[dict[str, Any]]
Answer = Future[tuple[Failure | None, Reports]]


def serve(prepare: Callable[[], Callable[[], Reports]], *, port: int, stderr: TextIO) -> None:
    """Answer calls until SIGTERM comes. During a case, the signal interrupts the work by an exception.

    Parameters
    ----------
    prepare
        Loads the networks and returns the function that segments a case. That function returns the records of the
        case, as values for JSON.
    port
        Port to listen on, on all interfaces.
    stderr
        Takes the reason of each failure, one line.

    Raises
    ------
    UserError
        If the port is taken. Errors of `prepare` are passed on.
    """
    try:
        listening = socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be opened ({os.strerror(error.errno or 0)}); is the program running already?"
        ) from error
    ready, calls = Event(), SimpleQueue[Answer]()
    settings = uvicorn.Config(_application(ready, calls), log_config=None, access_log=False, lifespan="off")
    Thread(target=uvicorn.Server(settings).run, args=([listening],), daemon=True).start()
    work = prepare()
    ready.set()
    working = False
    try:
        while True:
            answer = calls.get()
            if answer.set_running_or_notify_cancel():  # False: the caller has gone
                working = True
                result = _attempt(work, stderr)
                working = False
                answer.set_result(result)
    except Stopped:
        if working:
            raise
        say("stopped")  # the normal end of a server


def _attempt(work: Callable[[], Reports], stderr: TextIO) -> tuple[Failure | None, Reports]:
    reports: Reports = []
    failure = attempt(lambda: reports.extend(work()))
    if failure:
        print(failure.reason, file=stderr, flush=True)
    return failure, reports


def _application(ready: Event, calls: SimpleQueue[Answer]) -> Starlette:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ready": True}) if ready.is_set() else _refusal(503, "the networks are being loaded")

    async def invoke(request: Request) -> JSONResponse:
        async for _ in request.stream():  # the body is empty; one that is not must be read, or the caller waits
            pass
        if not ready.is_set():
            return _refusal(503, "the networks are being loaded")
        answer: Answer = Future()
        calls.put(answer)
        failure, reports = await asyncio.wrap_future(answer)
        if failure:
            return _refusal(422 if failure.expected else 500, failure.reason)
        return JSONResponse({"reports": reports}, 201)

    return Starlette(routes=[Route("/health", health), Route("/invoke", invoke, methods=["POST"])])


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
