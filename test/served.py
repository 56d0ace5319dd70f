"""The server of the invoke method in tests: the real program in a process, or the server alone in this process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse

import numpy as np
import SimpleITK as sitk
from places import ROOT
from program import stopped

from swfastedit_core.challenge.port import open_port
from swfastedit_core.challenge.server import serve
from swfastedit_core.system.command import run_command


class Served:
    """A running server, its folders, and the ways to talk to it."""

    def __init__(self, top, *options, weights):
        self.input, self.output = top / "input", top / "output"
        (self.input / "images/pet").mkdir(parents=True)
        self.output.mkdir()
        with socket.create_server(("", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, ROOT / "process.py", "--api-method", "invoke", "--port", self.port]
        command += ["--input", self.input, "--output", self.output, "--weights", weights, "--device", "cpu", *options]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, path, method="GET", body=None):
        """Return status and JSON; status 0 while nobody listens."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error) if error.headers["content-type"] == "application/json" else None
        except OSError:  # nobody listens, or not any more
            return 0, None

    def ready(self):
        """Wait until it is; return every status on the way."""
        seen = []
        while not seen or seen[-1] != 200:
            assert self.process.poll() is None, self.process.communicate()
            seen.append(self.ask("/health")[0])
            time.sleep(0.02)
        return set(seen)

    def clear(self):
        """Empty the input and the output folder."""
        for folder in (self.input / "images/pet", self.output):
            shutil.rmtree(folder)
            folder.mkdir()

    def put(self, array, name="case.mha"):
        """Let this be the only scan in the input folder, and the output folder empty."""
        self.clear()
        image = sitk.GetImageFromArray(np.asarray(array, np.float32))
        image.SetSpacing((4.0, 4.0, 4.0))
        sitk.WriteImage(image, str(self.input / "images/pet" / name))

    def stop(self, sent=signal.SIGTERM):
        """Return exit code, streams and the processor time it took."""
        return stopped(self.process, sent)


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


def free_port():
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]


def ask(port, path, method="GET"):
    """Return status and JSON of a server in this process."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def serving(prepare, client, port):
    """Serve here until the client, a function that runs in a thread beside, has returned; return what it does."""
    with ThreadPoolExecutor(1) as thread:

        def use():
            try:
                return client()
            finally:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

        asked = []

        def prepared():
            asked.append(thread.submit(use))
            return prepare()

        listening = open_port("127.0.0.1", port)
        code = run_command(lambda stderr: serve(prepared, listening=listening, stderr=stderr))
        return code, asked[0].result()
