"""Start and end of a command: any failure gives an exit code and one line on standard error."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from swfastedit_core.errors import UserError, is_out_of_memory
from swfastedit_core.system.limits import LeastMemory, require_memory_limits
from swfastedit_core.system.signals import Stopped as Stopped
from swfastedit_core.system.signals import raise_swallowed_stop, signal_line, signals_stop

OUT_OF_MEMORY = (
    "out of memory: the scan does not fit this machine, or its GPU; "
    "free some memory, or use --device cpu instead of a GPU"
)
NO_THREAD = "can't start new thread"  # of Python's RuntimeError
THREAD_REFUSED = (
    "no thread can be started: out of memory, or too many processes (ulimit -u, the limit of a container); "
    "raise the limits or end other programs"
)


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line like any other failure: one line, exit code 1.

    Options must be written in full.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with 2."""
        raise UserError(f"{message}; see {self.prog} --help")


@dataclass(frozen=True)
class Failure:
    """The reason of a failure.

    Attributes
    ----------
    reason
        One line for the user.
    expected
        Whether it is a `UserError`, which the user can solve.
    """

    reason: str
    expected: bool


def path_argument(text: str) -> Path:
    """Return an argument as a path; an empty one is refused, since it would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name, expected a file or folder")
    return Path(text)


def say(line: str) -> None:
    """Print a line at once.

    Raises
    ------
    UserError
        If standard output cannot be written: its reader has ended, or the disk is full.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        raise UserError(f"standard output cannot be written ({error.strerror})") from error


def require_writable(target: Path) -> None:
    """Check that a file can be written, before the work for it starts.

    Raises
    ------
    UserError
        If it is a folder, or no file can be made in the closest existing folder above it.
    """
    try:
        if target.is_dir():
            raise UserError(f"{target}: is a folder, expected the name of a file to write")
        folder = next(parent for parent in target.absolute().parents if parent.exists() or parent.is_symlink())
    except OSError as error:  # a folder on the way may not be entered
        raise UserError(f"{target}: cannot be written there ({error.strerror}); choose another folder") from error
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder, and {target.name} should be written in it; choose another")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: {target.name} cannot be written there ({error.strerror}); choose another"
        ) from error


def attempt(work: Callable[[], object]) -> Failure | None:
    """Run work; return why it failed, or None. Exceptions that end the program, such as signals, pass through.

    Work that fails after a signal fails because of the signal, whatever a library made of its exception.
    """
    try:
        work()
        return None
    except Exception as error:
        raise_swallowed_stop()
        return _failure(error)


def _failure(error: Exception) -> Failure:
    if isinstance(error, UserError):
        return Failure(" ".join(str(error).split()), expected=True)
    if isinstance(error, ModuleNotFoundError):
        reason = (
            f"the package '{error.name}' is missing; start with ./run.sh, which installs it, or run "
            "pip install '.[train]' in the clone"
        )
        return Failure(reason, expected=False)
    with suppress(OSError):
        traceback.print_exception(error, file=sys.stdout)
    return Failure(_unexpected(error), expected=False)


def run_command(work: Callable[[TextIO], object], *, least: LeastMemory | None = None) -> int:
    """Run the work of a command; print the reason if it fails.

    If a signal ended the work, the notes of its exception follow the reason (`BaseException.add_note`). Standard output
    is UTF-8 whatever the locale: the platform's log reader takes nothing else.

    Parameters
    ----------
    work
        Reads the arguments and does everything. Its argument is a stream for the reasons of failures that do not end
        the command.
    least
        Memory without which the work is not started.

    Returns
    -------
    int
        The exit code: 0, 1, or 128 and the signal's number.
    """
    open_standard_streams()
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr] # both are text files
    with only_the_reason_on_stderr() as stderr:
        code, reason = _outcome(lambda: _checked(work, stderr, least))
        try:
            sys.stdout.flush()
        except OSError as error:
            code, reason = code or 1, reason or f"standard output cannot be written ({error.strerror})"
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # unwritten output goes there
        if reason:
            with suppress(OSError):
                print(reason, file=stderr)
    return code


def _checked(work: Callable[[TextIO], object], stderr: TextIO, least: LeastMemory | None) -> None:
    """Check the surroundings, then do the work."""
    _require_working_directory()
    if least is not None:
        require_memory_limits(least)
    work(stderr)


def _require_working_directory() -> None:
    """Check that the working directory exists: no relative path has a meaning otherwise, and libraries crash."""
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(
            f"the working directory cannot be used ({error.strerror}); was it deleted? change to another folder"
        ) from error


@contextmanager
def only_the_reason_on_stderr() -> Iterator[TextIO]:
    """Yield a stream to standard error; everything else that is printed there goes to standard output.

    The platform shows the last line of standard error to the user, and on success all of it as a warning. Libraries
    print there, ITK even from C++.
    """
    stderr = os.dup(2)
    os.dup2(1, 2)
    try:
        with os.fdopen(stderr, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stream:
            yield stream
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _outcome(work: Callable[[], object]) -> tuple[int, str]:
    """Return exit code and reason; no reason means success."""
    try:
        with signals_stop():
            failure = attempt(work)
    except KeyboardInterrupt as stopped:
        return 128 + signal.SIGINT, _with_notes(signal_line(signal.SIGINT), stopped)
    except Stopped as stopped:
        number = int(stopped.args[0])
        return 128 + number, _with_notes(signal_line(number), stopped)
    except SystemExit as end:  # --help
        return int(end.code or 0), ""
    return (1, failure.reason) if failure else (0, "")


def _with_notes(reason: str, stopped: BaseException) -> str:
    return "; ".join([reason, *getattr(stopped, "__notes__", [])])


def _unexpected(error: Exception) -> str:
    """Describe an error that is not a `UserError`, in one line."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if NO_THREAD in str(error):
        return THREAD_REFUSED
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}; standard output has the details"


def open_standard_streams() -> None:
    """Open the null device for a closed standard stream: the next opened file would become that stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
