"""NiiVue, the viewer of a report: a file of the npm package @niivue/niivue in the user's cache folder.

The file (2.3 MB, BSD-2-Clause) is not part of this package. `fetch` gets it once; reports need no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing

PACKAGE, VERSION = "@niivue/niivue", "0.69.0"
MEMBER = "package/dist/niivue.umd.js"
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
COMMAND = "python -m swfastedit_core.report fetch-viewer"
MAX_BYTES = 16 * 2**20  # of the file in the package; the real one has 2.3 MB
SECONDS = 300


def cached_file() -> Path:
    """Return where the file belongs: `$XDG_CACHE_HOME/swfastedit`, by default `~/.cache/swfastedit`.

    The folder of the package may be read-only, and an update of the package would remove the file.

    Raises
    ------
    UserError
        If there is neither XDG_CACHE_HOME nor a home folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 # pathlib's may raise
    if not Path(cache).is_absolute():  # of XDG_CACHE_HOME: the standard says to ignore it
        raise UserError(f"{cache}: the cache folder is no absolute path; set HOME or XDG_CACHE_HOME to a full path")
    return Path(cache) / "swfastedit" / f"niivue-{VERSION}" / Path(MEMBER).name


def read() -> str:
    """Return the code of NiiVue.

    Raises
    ------
    UserError
        If the file is missing, cannot be read, or is another one.
    """
    path = cached_file()
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: the viewer's file is not there; run once: {COMMAND}") from error
    except OSError as error:
        raise UserError(f"{path}: the viewer's file cannot be read ({error.strerror})") from error
    _check(content, path, advice=f"run: {COMMAND}")
    return content.decode()


def fetch() -> Path:
    """Get the file by npm, with the user's settings, and store it; return where it is.

    A file that is there already and is the right one stays.

    Raises
    ------
    UserError
        If npm is missing or fails, the package holds another file, or the cache folder cannot be written.
    """
    path = cached_file()
    try:
        if path.is_file() and _is_expected(path.read_bytes()):
            return path
        with tempfile.TemporaryDirectory(prefix="swfastedit-") as folder:
            content = _member(_pack(Path(folder)))
        _check(content, f"{MEMBER} of npm's package", advice="ask the operator of your npm registry")
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to another folder"
        ) from error
    return path


def _pack(folder: Path) -> Path:
    """Let npm download the package into an empty folder; return the archive. No script of the package runs."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"npm is not installed: install Node.js, or put dist/{Path(MEMBER).name} of {PACKAGE} {VERSION} "
            f"at {cached_file()}"
        )
    command = [npm, "pack", "--ignore-scripts", "--loglevel=error", f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UserError(f"npm pack {PACKAGE}@{VERSION}: no answer within {SECONDS} s; try again later") from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise UserError(f"npm pack {PACKAGE}@{VERSION} failed: {_reason(done.stderr)}")
    return archives[0]


def _reason(stderr: str) -> str:
    """Return the lines of npm's error that say why, in one line."""
    lines = [line.removeprefix("npm ERR!").removeprefix("npm error").strip() for line in stderr.splitlines()]
    said = [line for line in lines if line and not line.startswith(("A complete log", "Log files", "code "))]
    return "; ".join(said)[:300] or "it said nothing"


def _member(archive: Path) -> bytes:
    """Return the viewer's file of a package."""
    try:
        with tarfile.open(archive, "r:gz") as package:
            file = package.extractfile(MEMBER)
            return b"" if file is None else file.read(MAX_BYTES)
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise UserError(f"{PACKAGE} {VERSION}: {MEMBER} cannot be read from the package ({error})") from error


def _is_expected(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256


def _check(content: bytes, name: object, *, advice: str) -> None:
    if not _is_expected(content):
        found = hashlib.sha256(content).hexdigest()
        raise UserError(f"{name}: has the SHA-256 {found[:12]}…, expected {SHA256[:12]}… of NiiVue {VERSION}; {advice}")
