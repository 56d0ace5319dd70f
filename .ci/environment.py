"""Make the virtual environment of the scripts, once; print its folder.

``environment.py PYTHON FOLDER [EXTRA...]`` is called by ``make_environment`` in environment.sh. PYTHON makes the
environment, FOLDER is the repository, EXTRA are dependency groups of pyproject.toml. Messages go to standard error.

A file named .swfastedit marks a folder that this program made; it also is the lock of the installation. Any other
folder that is not empty is never changed. In a marked folder, only the environment's own files are removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from child import InstallationError, Interrupted, interruptible, run, say
from installation import install

MARK, INSTALLED = ".swfastedit", "installed.txt"
PYPI_CUDA = ("cupy-cuda12x", "cupy-cuda13x")  # the container's, and the one for the torch of PyPI
SETTING = "SWFASTEDIT_VENV"
BEFORE = (
    "installing the requirements into {venv}, once: 0.5 GB to download, 2 GB on disk, 2 to 10 minutes\n"
    "(several GB more with PyTorch for CUDA, which pip takes on Linux unless its settings name another index)"
)
PINNED = re.compile(r"([\w.-]+)==([\w.+!-]+)")
VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for pin in sys.argv[1:]:
    name, wanted = pin.split("==")
    try:
        found = version(name).partition("+")[0]
    except PackageNotFoundError:
        found = None
    if found != wanted:
        print(pin)
"""


def find_or_make(python: str, repository: Path, extras: list[str]) -> Path:
    """Return the folder of an environment that has the requirements.

    Raises
    ------
    InstallationError
        If there is none and none can be made.
    """
    wanted = read_requirements(repository, extras)
    folders = list_folders(repository)
    for venv in folders:
        require_target(venv)
        if not is_own(venv, repository):
            require_packages(venv, wanted)
            return venv
        if is_complete(venv, wanted):
            return venv
        lock = open_mark(venv)
        if lock is not None:
            with lock, exclusive(lock, venv):
                if not is_complete(venv, wanted):
                    complete(venv, wanted, python=python, lock=lock)
            return venv
    raise InstallationError(f"{folders[0]}: cannot be written; set {SETTING} to a folder for the environment")


def list_folders(repository: Path) -> list[Path]:
    """Return the folders that the environment may have, the preferred one first.

    Without a setting these are .venv in the repository and, for a repository that cannot be written, a folder in the
    user's cache. Repositories with the same requirements share the latter.
    """
    setting = os.environ.get(SETTING)
    if setting:
        return [Path(setting)]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 # pathlib's may raise
    digest = zlib.crc32((repository / "requirements.txt").read_bytes())
    shared = [cache / "swfastedit" / f"venv-{digest:08x}"] if cache.is_absolute() else []
    return [repository / ".venv", *shared]


def read_requirements(repository: Path, extras: list[str]) -> list[str]:
    """Return the requirements; with an NVIDIA GPU also cupy, for the CUDA of PyPI's torch."""
    lines = (repository / "requirements.txt").read_text().splitlines()
    lines = [line.replace(*PYPI_CUDA) for line in lines if line[:1] not in ("", "#")]
    tool = shutil.which("nvidia-smi")
    if not (tool and subprocess.run([tool, "-L"], capture_output=True, check=False).stdout.strip()):
        lines = [line for line in lines if not line.startswith("cupy")]
    if extras:
        groups = tomllib.loads((repository / "pyproject.toml").read_text())["dependency-groups"]
        lines += [line for extra in extras for line in groups[extra]]
    return lines


def require_target(venv: Path) -> None:
    """Refuse a link to a folder that does not exist.

    Raises
    ------
    InstallationError
        If it is one.
    """
    if venv.is_symlink() and not venv.exists():
        raise InstallationError(
            f"{venv}: is a link to {venv.readlink()}, which does not exist; make it or remove the link"
        )


def is_own(venv: Path, repository: Path) -> bool:
    """Return whether a folder has the mark, is empty, or does not exist yet.

    Older versions of this program wrote installed.txt but no mark; their .venv counts if its pip works.
    """
    if os.path.lexists(venv / MARK) or not os.path.lexists(venv):
        return True
    with suppress(OSError):
        if not os.listdir(venv):  # noqa: PTH208 # only whether there is any
            return True
    return venv == repository / ".venv" and (venv / INSTALLED).is_file() and has_pip(venv)


def require_packages(venv: Path, wanted: list[str]) -> None:
    """Check that an environment of another tool has the requirements; it is used as it is, and never changed."""
    refusal = f"{venv}: holds other files and is not changed; set {SETTING} to a new or an empty folder"
    python = venv / "bin/python"
    if not (venv / "pyvenv.cfg").is_file() or not os.access(python, os.X_OK):
        raise InstallationError(refusal)
    pins = [f"{pin[1]}=={pin[2]}" for line in wanted if ";" not in line and (pin := PINNED.match(line))]
    try:
        found = subprocess.run([python, "-I", "-c", VERSIONS, *pins], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InstallationError(refusal) from error
    missing = found.stdout.split()
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise InstallationError(f"{refusal}, or install {missing[0]}{others} of requirements.txt into this one")


def is_complete(venv: Path, wanted: list[str]) -> bool:
    """Return whether an installation of the requirements into this environment has ended well."""
    try:
        return has_interpreter(venv) and set(wanted) <= set((venv / INSTALLED).read_text().splitlines())
    except (OSError, UnicodeDecodeError):
        return False


def has_interpreter(venv: Path) -> bool:
    """Return whether the interpreter runs and is the one that the packages were installed for."""
    python = venv / "bin/python"
    if not os.access(python, os.X_OK):
        return False
    name = os.path.basename(os.path.realpath(python))  # noqa: PTH119 # python3.13, if the system was upgraded
    return (
        not re.fullmatch(r"python3\.\d+", name) or not any(venv.glob("lib/python3*")) or (venv / "lib" / name).exists()
    )


def has_pip(venv: Path) -> bool:
    """Return whether the environment's pip starts."""
    with suppress(OSError):
        command = [str(venv / "bin/python"), "-m", "pip", "--version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def open_mark(venv: Path) -> TextIO | None:
    """Make the folder with its mark; return the mark's open file, or None if the folder cannot be written."""
    try:
        venv.mkdir(parents=True, exist_ok=True)
        return (venv / MARK).open("a")
    except OSError:
        return None


@contextmanager
def exclusive(lock: TextIO, venv: Path) -> Iterator[None]:
    """Wait until no other process installs into this environment.

    The kernel releases the lock when the last process that has the file open ends, even by SIGKILL. Where a file system
    has no locks, the call does not wait.
    """
    with suppress(OSError):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another process installs into {venv}")
            fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def complete(venv: Path, wanted: list[str], *, python: str, lock: TextIO) -> None:
    """Make the environment, or go on where an earlier call was ended; the caller has the lock."""
    say(BEFORE.format(venv=venv))
    begin = time.monotonic()
    (venv / INSTALLED).unlink(missing_ok=True)
    partial = remove_partial_packages(venv)
    whole = (venv / "bin/activate").is_file() and not any(
        name.startswith("pip-") for name in partial
    )  # venv's last file
    if not whole or not has_interpreter(venv) or not has_pip(venv):
        make_environment(venv, python, lock=lock)
    install(venv, wanted, lock=lock)
    written = venv / f"{INSTALLED}.part"
    written.write_text("".join(f"{line}\n" for line in wanted))
    written.replace(venv / INSTALLED)
    say(f"installed in {time.monotonic() - begin:.0f} s")


def remove_partial_packages(venv: Path) -> list[str]:
    """Remove the metadata of packages of which a killed pip installed a part: pip would take them for complete.

    Pip writes RECORD as a package's last file, and names a package ~… while it removes it.
    """
    partial = []
    for entry in (*venv.glob("lib/python3*/site-packages/*.dist-info"), *venv.glob("lib/python3*/site-packages/~*")):
        if entry.name.startswith("~") or not (entry / "RECORD").is_file():
            partial.append(entry.name)
            shutil.rmtree(entry)
    return partial


def make_environment(venv: Path, python: str, *, lock: TextIO) -> None:
    """Make an environment without packages; remove the files of one that does not work."""
    for name in ("bin", "include", "lib", "lib64", "pyvenv.cfg"):
        path = venv / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    done = run([python, "-m", "venv", str(venv)], lock=lock)
    if done.returncode:
        said = [line.strip() for line in done.stdout if line.strip()]
        reason = "is Python's venv module installed (Debian: python3-venv)?"
        if said and not re.search("ensurepip|No module named", " ".join(said)):
            reason = said[-1]
        raise InstallationError(f"{venv}: no environment could be made; {reason}")


if __name__ == "__main__":
    try:
        with interruptible():
            print(find_or_make(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
    except InstallationError as failure:
        sys.exit(str(failure))
    except OSError as error:  # such as a full disk
        sys.exit(f"the environment could not be made: {error.strerror}: {error.filename}")
    except Interrupted as end:
        say("interrupted; the next call goes on with the installation")
        sys.exit(128 + end.number)
