"""A server with one fault, for images that fail one check: ``python fault_server.py FAULT``.

Except for its fault it is correct, and writes empty masks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import SimpleITK as sitk
from fault import write_mask

FAULT = sys.argv[1]
STDERR = os.fdopen(os.dup(2), "w")
NO_START = "no weights that could be loaded"
SCRATCH = Path("/tmp/scratch")  # a server may keep files there between calls


class Handler(BaseHTTPRequestHandler):
    """Answers GET /health and POST /invoke."""

    def do_GET(self) -> None:
        """Answer that the server is ready."""
        self.reply(500 if FAULT == "health" else 200, {"ready": True})

    def do_POST(self) -> None:
        """Write the mask of the case in /input."""
        if FAULT == "start":
            print(NO_START, file=STDERR, flush=True)
            self.reply(500, {"detail": NO_START})
            return
        SCRATCH.read_bytes()
        (file,) = Path("/input/images/pet").glob("*.mha")
        try:
            pet = sitk.ReadImage(str(file))
        except RuntimeError:
            self.refuse(file)
            return
        if FAULT == "child":
            subprocess.Popen(["sleep", "3600"])
        if FAULT == "cache":
            (Path.home() / "kernels").touch()
        write_mask(pet, file.name, FAULT)
        self.reply(200 if FAULT == "status" else 201, {})

    def refuse(self, file: Path) -> None:
        """Refuse a scan that cannot be read."""
        reason = f"{file.name}: the scan cannot be read"
        print(reason, file=STDERR, flush=True)
        if FAULT == "fragile":
            os._exit(4)
        self.reply(422, {"detail": "bad input" if FAULT == "detail" else reason})

    def reply(self, status: int, content: dict[str, object]) -> None:
        """Send status and JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stop(*_: object) -> None:
    """Exit with code 0."""
    sys.exit(0)


if __name__ == "__main__":
    if FAULT == "dead":
        sys.exit(NO_START)
    if FAULT != "deaf":  # the first process of a container ignores a signal without a handler
        signal.signal(signal.SIGTERM, stop)
    SCRATCH.touch()
    os.dup2(1, 2)  # ITK's readers and the HTTP server write there
    HTTPServer(("127.0.0.1" if FAULT == "loopback" else "", 4743), Handler).serve_forever()
