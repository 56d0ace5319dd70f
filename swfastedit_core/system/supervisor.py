"""A small process that watches the program: it ends when a signal asks it to, and its failures have one line.

A library that runs out of memory may abort the process, end it without a word, or repeat an allocation for ever. No
Python code runs then, also no signal handler and no thread that needs the interpreter. So the program runs in a child
process. Its parent only waits, passes signals on, and reports an end that the program could not report itself.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import NoReturn

from swfastedit_core.system.command import open_standard_streams
from swfastedit_core.system.limits import forbid_core_dumps, memory_limits
from swfastedit_core.system.signals import signal_line

GRACE_SECONDS = 1.5  # for the program's own end after a signal; it removes its temporary files meanwhile
SHUTDOWN_SECONDS = 5.0  # for the end of Python; threads of libraries may wait for each other for ever
PR_SET_PDEATHSIG = 1  # of prctl(2)
LOOK_AGAIN_SECONDS = 60.0
STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PASSED_ON = {*STOPPING, signal.SIGTSTP}
SINGLE_THREADED = "OPENBLAS_NUM_THREADS"


def supervise(main: Callable[[], int], *, grace_seconds: float | None = GRACE_SECONDS) -> int:
    """Run a program in a child process; return its exit code.

    Elsewhere than on Linux, and where no process can be started, the program runs in this process.

    Parameters
    ----------
    main
        The program; it calls `command.run_command`, and returns its exit code. It must import its libraries itself: no
        thread may run yet.
    grace_seconds
        Time for the program to end after a signal; then it is killed. None: no limit, for a program that saves its
        work first.

    Returns
    -------
    int
        The program's exit code; 1 if a library ended it; 128 and the signal's number if it was killed after a signal.
    """
    # OpenBLAS reserves 32 MB a thread, and some versions repeat that for ever if memory is missing.
    os.environ.setdefault(SINGLE_THREADED, "1")
    if sys.platform != "linux":
        return main()
    open_standard_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, there is no exit code
    awaited = {number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*awaited, signal.SIGCHLD})
    reading, writing = os.pipe()
    supervisor = os.getpid()
    try:
        child = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return main()
    if child == 0:
        os.close(reading)
        os.setpgid(0, 0)  # a signal to the group, such as Ctrl-C, reaches the supervisor only: it comes once
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # let the program write to a terminal
        _end_with(supervisor)
        for number in STOPPING & awaited:  # before and after `run_command`, which has handlers of its own
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, {*before, *(STOPPING & awaited)})  # it unblocks them
        _run(main, writing)
    os.close(writing)
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as exit_codes:
        return _Watch(child, exit_codes, grace_seconds).wait({*awaited, signal.SIGCHLD})


def _run(main: Callable[[], int], writing: int) -> NoReturn:
    """Run the program, tell its exit code to the supervisor, and end."""
    forbid_core_dumps()  # a core holds the scan
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os.write(writing, bytes([code]))
    os.kill(os.getppid(), signal.SIGCHLD)  # wakes the supervisor
    if code > 128:  # a signal ended the program; threads of libraries that still work would crash in a longer end
        os._exit(code)
    sys.exit(code)


def _end_with(supervisor: int) -> None:
    """Let the system kill this process when its parent has ended."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:  # it ended before that
        os._exit(1)


class _Watch:
    """Waits for the end of the program.

    Attributes
    ----------
    code
        The exit code that the program sent; None before that.
    asked
        The last signal that asked the program to end; 0 before that.
    """

    def __init__(self, child: int, told: FileIO, grace_seconds: float | None) -> None:
        self._child, self._told, self._grace_seconds = child, told, grace_seconds
        self._deadline = math.inf
        self.code: int | None = None
        self.asked = 0

    def wait(self, awaited: set[signal.Signals]) -> int:
        """Pass signals on until the program has ended; kill it if it takes too long. Return the exit code."""
        while True:
            remaining = min(self._deadline - time.monotonic(), LOOK_AGAIN_SECONDS)
            received = signal.sigtimedwait(awaited, max(remaining, 0.0))
            if received is not None and received.si_signo == signal.SIGTSTP:
                self._pause()
            elif received is not None and received.si_signo != signal.SIGCHLD:
                self._ask(received.si_signo)
            if time.monotonic() >= self._deadline:
                os.kill(self._child, signal.SIGKILL)
                self._deadline = math.inf
            status = _reap(self._child)
            self._listen()
            if status is not None:
                return self._finish(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)

    def _pause(self) -> None:
        """Stop with the program, as Ctrl-Z asks, until a shell continues this process."""
        os.kill(self._child, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(self._child, signal.SIGCONT)

    def _ask(self, number: int) -> None:
        """Pass a signal on."""
        self.asked = number
        if self._grace_seconds is not None:
            self._deadline = min(self._deadline, time.monotonic() + self._grace_seconds)
        os.kill(self._child, number)

    def _listen(self) -> None:
        """Read the exit code, if the program has told it. After that it has a few seconds to end its threads."""
        if self.code is None and (code := self._told.read(1)):
            self.code = code[0]
            self._deadline = min(self._deadline, time.monotonic() + SHUTDOWN_SECONDS)

    def _finish(self, number: int) -> int:
        """Return the exit code; print the reason if the program could not. `number` is the signal that ended it."""
        if self.code is not None:
            return self.code
        if self.asked and number in (self.asked, signal.SIGKILL):
            _print(signal_line(self.asked))
            return 128 + self.asked
        _print(_reason(number))
        return 1


def _reap(child: int) -> int | None:
    """Collect processes that have ended, as the first process of a container must; return the child's status."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                return ended[1]
    return None


def _reason(number: int) -> str:
    """Say why the program ended without a word."""
    how = f"was ended by {signal.Signals(number).name}" if number else "was ended by a library"
    if limits := memory_limits():
        return f"out of memory or a defect: the program {how}; raise the limit ({limits}), or use a smaller scan"
    if number == signal.SIGKILL:
        return f"out of memory: the program {how}, most likely by the system; free some memory, or use a smaller scan"
    return f"the program {how}, out of memory or by a defect; standard output has what the library said"


def _print(line: str) -> None:
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())
