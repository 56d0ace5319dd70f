"""The checks of an image and of the outcome of a case."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trial.containers import Outcome
from trial.image import Check, Image, check_config
from trial.limits import GIB, Limits
from trial.output import ExpectedFiles, check_output

MAX_CUDA = (12, 6)  # the driver of the platform's T4 does not run newer versions
T4 = "sm_75"
ONES = 27.0  # the sum that the probe computes
CREATED = 201  # HTTP status of a call that succeeds
KILLED = 137  # exit code after SIGKILL, as the kernel sends it when memory runs out
NO_NETWORK = re.compile(
    rb"Temporary failure in name resolution|Name or service not known|Network is unreachable|getaddrinfo|gaierror|"
    rb"Failed to resolve|Could not resolve host"
)
READ_ONLY = re.compile(rb"Read-only file system[^\n]*(/input|/mnt/case)|(/input|/mnt/case)[^\n]*Read-only file system")
NO_MEMORY = re.compile(rb"MemoryError|Cannot allocate memory|out of memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class Expected:
    """The expected outcome of a case.

    Attributes
    ----------
    pet
        The scan, whose grid the mask must have; None if the image has to refuse the case.
    files
        The files that must lie in /output.
    success
        Exit code or HTTP status of a success.
    engine_changes
        Changes that the engine itself makes in every container, as it lists them.
    """

    pet: Path | None
    files: ExpectedFiles
    success: int = 0
    engine_changes: frozenset[str] = frozenset()

    @property
    def is_call(self) -> bool:
        """Whether it is the outcome of a call over HTTP."""
        return self.success == CREATED


def check_image(
    image: Image, *, cuda: str | None, architectures: Sequence[str], uid: int, openvino: object
) -> list[Check]:
    """Check what the platform checks at the upload, what its GPUs need, and that OpenVINO works.

    Parameters
    ----------
    image
        As the engine describes it.
    cuda
        CUDA version of torch; None without CUDA.
    architectures
        GPU architectures that torch was compiled for.
    uid
        Number of the user in the container.
    openvino
        What `probe.convolve_with_openvino` returned.
    """
    checks = [
        *check_config(image),
        Check("image uid", uid != 0, f"{uid}"),
        Check("OpenVINO runs on the CPU", openvino == ONES, f"{openvino}, expected {ONES}"),
    ]
    if cuda is None:
        return checks
    version = tuple(int(part) for part in cuda.split("."))
    newest = ".".join(map(str, MAX_CUDA))
    return [
        *checks,
        Check("CUDA version", version <= MAX_CUDA, f"{cuda}, expected {newest} at most"),
        Check("CUDA for T4", T4 in architectures, f"{' '.join(architectures) or 'nothing'}, expected {T4} among them"),
    ]


def check_outcome(outcome: Outcome, limits: Limits, expected: Expected, output: Path) -> list[Check]:
    """Check the end of a case and the output folder; after a timeout the time only."""
    if outcome.code is None:
        return [Check("time", False, f"not done after {limits.seconds:g} s, the limit")]
    log = outcome.stdout + outcome.stderr + outcome.answer
    killed = f"exit code {KILLED}" if KILLED in (outcome.code, outcome.server_exit_code) else _find_line(NO_MEMORY, log)
    written = _innermost(line.split(" ", 1)[1] for line in outcome.changes - expected.engine_changes)
    checks = [
        Check("time", True, f"limit {limits.seconds:g} s"),
        Check("memory", not killed, f"{killed}; limit {limits.memory_bytes / GIB:.3g} GiB"),
        Check("no network", not NO_NETWORK.search(log), _find_line(NO_NETWORK, log)),
        Check("input not written", not READ_ONLY.search(log), _find_line(READ_ONLY, log)),
        Check("only /output and /tmp written", not written, ", ".join(written[:3])),
        Check("no process left", not outcome.left_processes, "; ".join(outcome.left_processes)),
        Check("log is UTF-8", all(_is_utf8(text) for text in (outcome.stdout, outcome.stderr, outcome.answer))),
    ]
    if expected.is_call:
        found = f"it ended with exit code {outcome.server_exit_code}; {outcome.last_line}"
        checks.append(Check("server keeps running", outcome.server_exit_code is None, found))
    if expected.pet is None:
        return [*checks, *_check_refusal(outcome, expected, output)]
    checks += [
        _check_code(outcome, expected, outcome.code == expected.success, f"{expected.success}"),
        Check("stderr empty", not outcome.stderr.strip(), outcome.last_line),
    ]
    return [*checks, *check_output(output, expected.files, expected.pet)]


def _check_code(outcome: Outcome, expected: Expected, passed: bool, codes: str) -> Check:
    reason = outcome.last_line or outcome.answer.decode(errors="replace")
    found = f"{outcome.code}, expected {codes}"
    return Check("HTTP status" if expected.is_call else "exit code", passed, f"{found}; {reason}" if reason else found)


def _check_refusal(outcome: Outcome, expected: Expected, output: Path) -> list[Check]:
    """Check that a case was refused with a one-line reason on stderr and without any output."""
    lines = outcome.stderr.decode(errors="replace").splitlines()
    useful = len(lines) == 1 and len(lines[0].split()) >= 4 and "Traceback" not in lines[0]
    left = [str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()]
    checks = [
        Check("one useful line on stderr", useful, " / ".join(lines) or "nothing"),
        Check("no output after a failure", not left, ", ".join(left)),
    ]
    if not expected.is_call:
        refused = outcome.code != expected.success
        return [_check_code(outcome, expected, refused, "a failure"), *checks]
    refused = outcome.code is not None and 400 <= outcome.code < 600
    detail = _detail(outcome.answer)
    return [
        _check_code(outcome, expected, refused, "4xx or 5xx"),
        *checks,
        Check(
            "answer equals the line on stderr",
            [detail] == lines,
            f"{detail}, on stderr {' / '.join(lines) or 'nothing'}",
        ),
    ]


def _detail(answer: bytes) -> object:
    """Return the ``detail`` of an answer in JSON; any other answer as text."""
    text = answer.decode(errors="replace")
    try:
        return json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return text or "nothing"


def failures(checks: Sequence[Check]) -> list[Check]:
    """Return the checks that failed."""
    return [check for check in checks if not check.passed]


def _innermost(paths: Iterable[str]) -> list[str]:
    """Leave out each folder that contains another path: it changed because of that path."""
    found = sorted(paths)
    return [path for path in found if not any(other.startswith(f"{path}/") for other in found)]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _find_line(pattern: re.Pattern[bytes], log: bytes) -> str:
    return next((line.decode(errors="replace") for line in log.splitlines() if pattern.search(line)), "")
