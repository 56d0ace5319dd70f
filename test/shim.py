"""The platform's own shim (sagemaker-shim from PyPI), which starts `process.py` and calls it; moto plays S3.

The shim needs Python 3.12, so it runs in an
environment of its own; `process.py` runs in this one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# aioboto3 is pinned, because pip otherwise tries its versions for minutes.
PACKAGES = ("sagemaker-shim==0.8.3", "aioboto3==15.5.0", "moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
BUCKET = "platform"
MASK = "images/automated-petct-lesion-segmentation/scan.mha"
RESULT = ".sagemaker_shim/inference_result.json"
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"  # moto does not check more
SERVE_PORT = 8080  # fixed in the shim


class UnavailableError(Exception):
    """The shim cannot be run here; the reason is for the user."""


def find_python() -> str:
    """Return a Python 3.12: named by SWFASTEDIT_SHIM_PYTHON, on the PATH, or installed beside this Python."""
    beside = sorted(Path(sys.base_prefix).parent.glob("*3.12*/bin/python3.12"))
    for python in (os.environ.get("SWFASTEDIT_SHIM_PYTHON"), shutil.which("python3.12"), sys.executable, *beside):
        command = [str(python), "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))"]
        if (
            python
            and shutil.which(python)
            and subprocess.run(command, capture_output=True, check=False).returncode == 0
        ):
            return str(python)
    raise UnavailableError("no Python 3.12, which the shim needs (SWFASTEDIT_SHIM_PYTHON names one)")


def make_environment() -> Path:
    """Return the Python of an environment with the shim; it is kept inside this environment."""
    python = find_python()
    folder = Path(sys.prefix) / "sagemaker-shim"
    if not os.access(sys.prefix, os.W_OK):
        folder = Path(tempfile.gettempdir()) / f"sagemaker-shim-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    own, marker = folder / "bin/python", folder / "installed.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in several processes
        if not marker.exists() or marker.read_text() != "\n".join(PACKAGES):
            subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
            pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *PACKAGES]
            elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON")
            settings = {name: value for name, value in os.environ.items() if name not in elsewhere}
            done = subprocess.run(pip, env=settings, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UnavailableError(f"pip cannot install the shim: {(done.stderr.splitlines() or ['?'])[-1]}")
            marker.write_text("\n".join(PACKAGES))
    return own


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Bucket:
    """A bucket of S3, over plain HTTP."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def put(self, key: str, content: bytes) -> None:
        """Write an object; the empty key makes the bucket."""
        self._request("PUT", key, content).close()

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        try:
            with self._request("GET", key) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def _request(self, method: str, key: str, content: bytes | None = None):
        url = f"{self.endpoint}/{BUCKET}/{key}".rstrip("/")
        headers = {"Content-Type": "application/octet-stream", "Authorization": AUTHORIZATION}
        return urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=30)

    def result(self, pk: str) -> dict[str, object] | None:
        """Read the platform's record of a task; None if the task was not run."""
        content = self.get(f"{pk}/{RESULT}")
        return json.loads(content) if content else None


class Shim:
    """The shim for one algorithm: the folders, the environment and the commands."""

    def __init__(self, python: Path, bucket: Bucket, top: Path, method: str, options: list[str]) -> None:
        self.python, self.bucket = python, bucket
        program = [sys.executable, str(ROOT / "process.py"), "--api-method", method, "--port", str(port := free_port())]
        program += ["--input", str(top / "input"), "--output", str(top / "output"), *options]
        for name in ("output", "model", "truth", "tmp"):
            (top / name).mkdir(parents=True)
        settings = {
            "API_METHOD": method,
            "ENTRYPOINT_B64J": b64encode(json.dumps(program).encode()).decode(),
            "USER_WEBSERVER_PORT": str(port),
            "INPUT_PATH": str(top / "input"),
            "LINKED_INPUT_PARENT": str(top / "linked"),
            "OUTPUT_PATH": str(top / "output"),
            "MODEL_DEST": str(top / "model"),
            "GROUND_TRUTH_DEST": str(top / "truth"),
            "WRITABLE_DIRECTORIES": str(top / "tmp"),
            "POST_CLEAN_DIRECTORIES": str(top / "tmp"),
            "SET_EXTRA_GROUPS": "False",  # only root may set them
            "SIGNING_KEY_HEX": "00" * 32,
            "RUNTIME_OUTPUT_BUCKET_NAME": BUCKET,
            "RUNTIME_OUTPUT_PREFIX": "runtime",
        }
        self.environment = os.environ | {f"GRAND_CHALLENGE_COMPONENT_{key}": value for key, value in settings.items()}
        self.environment |= {
            "AWS_S3_ENDPOINT_URL": bucket.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
        }

    def task(self, pk: str, scan: bytes, *, seconds: int = 300) -> dict[str, object]:
        """Upload the scan of a task; return the task as the platform describes it."""
        self.bucket.put(f"inputs/{pk}.mha", scan)
        inputs = [
            {"relative_path": "images/pet/scan.mha", "bucket_name": BUCKET, "bucket_key": f"inputs/{pk}.mha"},
        ]
        return {
            "pk": pk,
            "inputs": inputs,
            "output_bucket_name": BUCKET,
            "output_prefix": pk,
            "timeout": f"PT{seconds}S",
        }

    def invoke(self, *tasks: dict[str, object]) -> subprocess.CompletedProcess[str]:
        """Run tasks one after another, as ``sagemaker_shim.cli invoke`` does; it stops at the first failure."""
        command = [str(self.python), "-m", "sagemaker_shim.cli", "invoke", "-t", json.dumps(tasks)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600, check=False)

    @contextmanager
    def serve(self):
        """Start ``sagemaker_shim.cli serve``; yield a function that sends a task and returns its record."""
        command = [str(self.python), "-m", "sagemaker_shim.cli", "serve"]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_until_open(SERVE_PORT, process)

            def send(task: dict[str, object]) -> dict[str, object]:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{SERVE_PORT}/invocations",
                    json.dumps(task).encode(),
                    {"Content-Type": "application/json"},
                )
                with urllib.request.urlopen(request, timeout=300) as answer:
                    return json.load(answer)

            yield send
        finally:
            process.terminate()
            process.communicate(timeout=30)


def health_calls(log: str) -> int:
    """Count the shim's questions for the health in its log."""
    return log.count("Calling health endpoint")


def wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens."""
    for _ in range(6000):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on port {port}")


@contextmanager
def running_bucket(python: Path):
    """Start moto; yield an empty bucket."""
    port = free_port()
    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_open(port, process)
        bucket = Bucket(f"http://127.0.0.1:{port}")
        bucket.put("", b"")
        yield bucket
    finally:
        process.terminate()
        process.wait(30)
