"""Run pip in an environment: show its progress, and say why it failed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TextIO

from child import InstallationError, run
from progress import Progress

NOT_INHERITED = ("PIP_PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")  # they name another place
DOWNLOAD = re.compile(r"\s*(Collecting|Downloading|Installing) ")
NO_CONNECTION = re.compile(r"WARNING: Retrying .*?(\[Errno [^'\"]*|timed out|certificate verify failed)", re.IGNORECASE)


def install(venv: Path, requirements: list[str], *, lock: TextIO) -> None:
    """Install the requirements by the environment's pip.

    Pip's output goes to pip.log in the environment. Its temporary files are there, too: /tmp is often smaller than
    PyTorch, and the next call removes what a killed pip left.

    Raises
    ------
    InstallationError
        If pip fails; the message has its reason.
    """
    scratch = venv / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    file = scratch / "requirements.txt"
    file.write_text("".join(f"{line}\n" for line in requirements))
    command = [str(venv / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "--requirement", str(file)]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment["TMPDIR"] = str(scratch)
    try:
        with (venv / "pip.log").open("w") as log, Progress(venv, scratch) as progress:
            done = run(command, lock=lock, environment=environment, log=log, watch=progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode:
        raise InstallationError(f"pip failed: {find_reason(done.stdout)}; all that it said is in {venv / 'pip.log'}")


def find_reason(lines: list[str]) -> str:
    """Return the line of pip's output that says why it failed, in one line."""
    last_download = max((n for n, line in enumerate(lines) if DOWNLOAD.match(line)), default=-1)
    later = lines[last_download + 1 :]  # a connection that was lost before worked again
    refused = next((found[1].strip(" )") for line in later if (found := NO_CONNECTION.search(line))), None)
    if refused is not None:
        return f"no connection to the package index ({refused})"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    others = [line.strip() for line in lines if line.strip()]
    return (errors or others or ["it said nothing"])[-1]
