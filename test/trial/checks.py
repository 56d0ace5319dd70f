"""What is wrong with an outcome: each check has a name, and says in a few words what it found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from trial.containers import Outcome
from trial.image import Check, Image, judge_config
from trial.limits import GIB, Limits

GEOMETRY_MM = 1e-3
LEAST_DICE = 0.95  # against the mask of another machine: processors round bfloat16 differently
MOST_CUDA = (12, 6)  # beyond it the driver of the platform's T4 is too old
T4 = "sm_75"
CREATED = 201  # what a call has to answer
KILLED = 137
NO_NETWORK = re.compile(
    rb"Temporary failure in name resolution|Name or service not known|Network is unreachable|getaddrinfo|gaierror|"
    rb"Failed to resolve|Could not resolve host"
)
NO_WRITING = re.compile(rb"Read-only file system[^\n]*(/input|/mnt/case)|(/input|/mnt/case)[^\n]*Read-only file system")
NO_MEMORY = re.compile(rb"MemoryError|Cannot allocate memory|out of memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """What has to come of a case.

    Attributes
    ----------
    pet
        The scan, whose grid the mask must have; None where a failure has to come of it.
    socket
        Folder of the mask below /output.
    success
        Exit code or HTTP status.
    expected
        Folder with the mask of this case; None if there is none.
    values
        JSON files below /output that have to be there, with their content.
    changes
        What the engine itself changes in a container, as it lists it.
    """

    pet: Path | None
    socket: Path
    success: int = 0
    expected: Path | None = None
    values: tuple[tuple[str, object], ...] = ()
    changes: frozenset[str] = frozenset()

    @property
    def by_http(self) -> bool:
        """Whether it comes of a call."""
        return self.success == CREATED


def judge_image(image: Image, *, cuda: str | None, architectures: Sequence[str], uid: int) -> list[Check]:
    """Look at what the upload looks at, and at what the platform's GPUs need.

    Parameters
    ----------
    image
        As the engine describes it.
    cuda
        torch's version of CUDA; None where it has none.
    architectures
        Those torch was compiled for.
    uid
        Of the user in the container.
    """
    checks = [*judge_config(image), Check("image uid", uid != 0, f"{uid}")]
    if cuda is None:
        return checks
    version = tuple(int(part) for part in cuda.split("."))
    most = ".".join(map(str, MOST_CUDA))
    return [
        *checks,
        Check("CUDA version", version <= MOST_CUDA, f"{cuda}, expected {most} at most"),
        Check("CUDA for T4", T4 in architectures, f"{' '.join(architectures) or 'nothing'}, expected {T4} among them"),
    ]


def judge_outcome(outcome: Outcome, limits: Limits, wanted: Wanted, output: Path) -> list[Check]:
    """Check how a case ended and what it left in the output folder; only its time where that was up."""
    if outcome.code is None:
        return [Check("time", False, f"not done after {limits.seconds:g} s, the limit")]
    log = outcome.stdout + outcome.stderr + outcome.answer
    killed = f"exit code {KILLED}" if KILLED in (outcome.code, outcome.ended) else _line_with(NO_MEMORY, log)
    written = _innermost(line.split(" ", 1)[1] for line in outcome.changes - wanted.changes)
    checks = [
        Check("time", True, f"limit {limits.seconds:g} s"),
        Check("memory", not killed, f"{killed}; limit {limits.memory_bytes / GIB:.3g} GiB"),
        Check("no network", not NO_NETWORK.search(log), _line_with(NO_NETWORK, log)),
        Check("input not written", not NO_WRITING.search(log), _line_with(NO_WRITING, log)),
        Check("only /output and /tmp written", not written, ", ".join(written[:3])),
        Check("no process left", not outcome.left, "; ".join(outcome.left)),
        Check("log is UTF-8", all(_is_utf8(text) for text in (outcome.stdout, outcome.stderr, outcome.answer))),
    ]
    if wanted.by_http:
        checks.append(
            Check("server lives on", outcome.ended is None, f"it ended with {outcome.ended}; {outcome.last_line}")
        )
    if wanted.pet is None:
        return [*checks, *_judge_failure(outcome, wanted, output)]
    checks += [
        _judge_code(outcome, wanted, outcome.code == wanted.success, f"{wanted.success}"),
        Check("stderr empty", not outcome.stderr.strip(), outcome.last_line),
    ]
    return [*checks, *_judge_output(wanted, wanted.pet, output)]


def _judge_code(outcome: Outcome, wanted: Wanted, holds: bool, expected: str) -> Check:
    reason = outcome.last_line or outcome.answer.decode(errors="replace")
    found = f"{outcome.code}, expected {expected}"
    return Check("HTTP status" if wanted.by_http else "exit code", holds, f"{found}; {reason}" if reason else found)


def _judge_failure(outcome: Outcome, wanted: Wanted, output: Path) -> list[Check]:
    """A case that cannot be used: refused in one line that names what is wrong, and nothing written."""
    lines = outcome.stderr.decode(errors="replace").splitlines()
    useful = len(lines) == 1 and len(lines[0].split()) >= 4 and "Traceback" not in lines[0]
    left = [str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()]
    checks = [
        Check("one useful line on stderr", useful, " / ".join(lines) or "nothing"),
        Check("no mask of a failure", not left, ", ".join(left)),
    ]
    if not wanted.by_http:
        refused = outcome.code != wanted.success
        return [_judge_code(outcome, wanted, refused, "a failure"), *checks]
    refused = outcome.code is not None and 400 <= outcome.code < 600
    detail = _detail(outcome.answer)
    return [
        _judge_code(outcome, wanted, refused, "4xx or 5xx"),
        *checks,
        Check(
            "answer is the line on stderr", [detail] == lines, f"{detail}, on stderr {' / '.join(lines) or 'nothing'}"
        ),
    ]


def _detail(answer: bytes) -> object:
    """Return the reason in the answer to a call; the answer itself where it is none."""
    text = answer.decode(errors="replace")
    try:
        return json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return text or "nothing"


def _judge_output(wanted: Wanted, pet: Path, output: Path) -> list[Check]:
    folder = output / wanted.socket
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    names = ", ".join(path.name for path in found) or "nothing"
    checks = [Check("exactly one .mha", [path.suffix for path in found] == [".mha"], f"{wanted.socket}: {names}")]
    for name, value in wanted.values:
        content = (output / name).read_text() if (output / name).is_file() else "nothing"
        checks.append(Check(name, content == json.dumps(value), content))
    masks = [path for path in found if path.suffix == ".mha"]
    if masks:
        checks += _judge_mask(masks[0], pet, wanted.expected)
    return checks


def _judge_mask(file: Path, pet: Path, expected: Path | None) -> list[Check]:
    try:
        mask = sitk.ReadImage(str(file))
    except RuntimeError as error:
        return [Check("mask can be read", False, str(error).splitlines()[-1])]
    array = sitk.GetArrayFromImage(mask)
    values = np.unique(array)
    kind = mask.GetPixelIDTypeAsString()
    good = mask.GetPixelID() == sitk.sitkUInt8 and set(values.tolist()) <= {0, 1}
    shown = " ".join(f"{value:g}" for value in values[:4])
    checks = [Check("mask is uint8 of 0 and 1", good, f"{kind}: {shown}"), _judge_geometry(mask, pet)]
    if expected is not None:
        checks.append(_judge_dice(array, expected))
    return checks


def _judge_geometry(mask: sitk.Image, pet: Path) -> Check:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(pet))
    reader.ReadImageInformation()
    pairs = (
        ("size", mask.GetSize(), reader.GetSize()),
        ("spacing", mask.GetSpacing(), reader.GetSpacing()),
        ("origin", mask.GetOrigin(), reader.GetOrigin()),
        ("direction", mask.GetDirection(), reader.GetDirection()),
    )
    wrong = [
        f"{name} {a}, the PET's is {b}"
        for name, a, b in pairs
        if len(a) != len(b) or not np.allclose(a, b, rtol=0, atol=GEOMETRY_MM)
    ]
    return Check("geometry equals the PET's", not wrong, "; ".join(wrong))


def _judge_dice(array: np.ndarray, expected: Path) -> Check:
    files = sorted(expected.rglob("*.mha"))
    if len(files) != 1:
        return Check("Dice against expected_output", False, f"{expected} holds {len(files)} masks, expected one")
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(files[0])))
    if truth.shape != array.shape:
        return Check("Dice against expected_output", False, f"shape {array.shape}, expected {truth.shape}")
    both, total = np.count_nonzero((truth > 0) & (array > 0)), np.count_nonzero(truth) + np.count_nonzero(array)
    dice = 2 * both / total if total else 1.0
    return Check("Dice against expected_output", dice >= LEAST_DICE, f"{dice:.4f}, expected {LEAST_DICE} at least")


def failures(checks: Sequence[Check]) -> list[Check]:
    """Return those that do not hold."""
    return [check for check in checks if not check.holds]


def _innermost(paths: Iterable[str]) -> list[str]:
    """Leave out the folders of other paths: they have changed because of those."""
    found = sorted(paths)
    return [path for path in found if not any(other.startswith(f"{path}/") for other in found)]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _line_with(pattern: re.Pattern[bytes], log: bytes) -> str:
    return next((line.decode(errors="replace") for line in log.splitlines() if pattern.search(line)), "")
