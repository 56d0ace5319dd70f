"""The platform's invoke method: the networks are loaded once, cases are asked for over HTTP.

``GET /health`` answers 200 as soon as cases can come, 503 before. ``POST /invoke`` works on the case that lies in
``/input`` and answers 201; a case that cannot be used is answered with 422, any other failure with 500, and the
server lives on.

The main thread does the work, one case at a time in the order of the calls, and a second thread speaks HTTP: signals
reach the work wherever it is and end it at once, and health is answered meanwhile.
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
    """Answer calls until SIGTERM comes; while it works on a case, the signal ends that as well, as an exception.

    Parameters
    ----------
    prepare
        Loads what cases need, and returns the work on one case. The work returns what there is to report, and
        raises as an entry point's work does.
    port
        To listen on, on all interfaces.
    stderr
        Takes the reason of each failure, one line.

    Raises
    ------
    UserError
        If the port is taken; and whatever `prepare` raises.
    """
    try:
        listening = socket.create_server(("", port))
    except OSError as error:  # its own text names the address in Python's way
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
            if answer.set_running_or_notify_cancel():  # else the caller has gone
                working = True
                result = _answered(work, stderr)
                working = False
                answer.set_result(result)
    except Stopped:
        if working:
            raise
        say("stopped")  # the usual end of a server, and no failure


def _answered(work: Callable[[], Reports], stderr: TextIO) -> tuple[Failure | None, Reports]:
    reports: Reports = []
    failure = attempt(lambda: reports.extend(work()))
    if failure:
        print(failure.reason, file=stderr, flush=True)
    return failure, reports


def _application(ready: Event, calls: SimpleQueue[Answer]) -> Starlette:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ready": True}) if ready.is_set() else _refusal(503, "the networks are being loaded")

    async def invoke(request: Request) -> JSONResponse:
        async for _ in request.stream():  # nothing is in it; a caller who sends something must get it off its hands
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
