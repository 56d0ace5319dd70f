"""What is wrong with an outcome: each check has a name, and says in a few words what it found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from trial.containers import Image, Outcome
from trial.limits import Limits

GEOMETRY_MM = 1e-3
LEAST_DICE = 0.95  # against the mask of another machine: processors round bfloat16 differently
MOST_CUDA = (12, 6)  # beyond it the driver of the platform's T4 is too old
T4 = "sm_75"
API_METHODS = ("exec", "invoke")
KILLED = 137
NO_NETWORK = re.compile(
    rb"Temporary failure in name resolution|Name or service not known|Network is unreachable|getaddrinfo|gaierror|"
    rb"Failed to resolve|Could not resolve host"
)
NO_WRITING = re.compile(rb"Read-only file system[^\n]*(/input|/mnt/case)|(/input|/mnt/case)[^\n]*Read-only file system")
NO_MEMORY = re.compile(rb"MemoryError|Cannot allocate memory|out of memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    """A name, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str = ""


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
    """

    pet: Path | None
    socket: Path
    success: int = 0
    expected: Path | None = None
    values: tuple[tuple[str, object], ...] = ()


def judge_image(image: Image, *, cuda: str, user: str) -> list[Check]:
    """Look at what the upload looks at, and at what the platform's GPUs need.

    Parameters
    ----------
    image
        As the engine describes it.
    cuda
        torch's version of CUDA, and its architectures, in one line; ``None`` first where there is no CUDA.
    user
        What ``id -u`` prints in the container.
    """
    label = image.labels.get("org.grand-challenge.api-method", "exec")
    version, *architectures = cuda.split() or ["None"]
    numbers = tuple(int(part) for part in version.split(".")) if version != "None" else None
    named = image.user.split(":")[0]
    return [
        Check("image user", named not in ("", "0", "root") and user != "0", f"{image.user or 'none'} (uid {user})"),
        Check("image architecture", image.architecture == "linux/amd64", image.architecture),
        Check("image label", label in API_METHODS, f"api-method {label}"),
        Check("image entrypoint", bool(image.entrypoint or image.command), " ".join(image.entrypoint) or "none"),
        Check("CUDA version", numbers is None or numbers <= MOST_CUDA, version if numbers else "no CUDA in the image"),
        Check("CUDA for T4", numbers is None or T4 in architectures, T4 if numbers else "no CUDA in the image"),
    ]


def judge_outcome(outcome: Outcome, limits: Limits, wanted: Wanted, output: Path) -> list[Check]:
    """Check how a case ended and what it left in the output folder."""
    log = outcome.stdout + outcome.stderr
    checks = [
        Check("time", outcome.code is not None, f"limit {limits.seconds:g} s"),
        Check(
            "memory", outcome.code != KILLED and not NO_MEMORY.search(log), f"limit {limits.memory_bytes / 1e9:.0f} GB"
        ),
        Check("no network", not NO_NETWORK.search(log), _line_with(NO_NETWORK, log)),
        Check("input not written", not NO_WRITING.search(log), _line_with(NO_WRITING, log)),
        Check("no process left", not outcome.left, "; ".join(outcome.left)),
        Check("log is UTF-8", _is_utf8(outcome.stdout) and _is_utf8(outcome.stderr)),
    ]
    if wanted.pet is None:
        return [*checks, *_judge_failure(outcome, wanted, output)]
    last = (outcome.stderr.decode(errors="replace").splitlines() or [""])[-1]
    checks += [
        Check(
            "exit code",
            outcome.code == wanted.success,
            f"{outcome.code}, expected {wanted.success}; {last}".rstrip("; "),
        ),
        Check("stderr empty", not outcome.stderr.strip(), last),
    ]
    return [*checks, *_judge_output(wanted, wanted.pet, output)]


def _judge_failure(outcome: Outcome, wanted: Wanted, output: Path) -> list[Check]:
    """A case that cannot be used: refused in one line that names what is wrong, and nothing written."""
    lines = outcome.stderr.decode(errors="replace").splitlines()
    refused = outcome.code is not None and outcome.code != wanted.success
    if wanted.success >= 200:
        refused = outcome.code is not None and 400 <= outcome.code < 600
    useful = len(lines) == 1 and len(lines[0].split()) >= 4 and "Traceback" not in lines[0]
    left = [str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()]
    return [
        Check("exit code", refused, f"{outcome.code}, expected a failure"),
        Check("one useful line on stderr", useful, " / ".join(lines) or "nothing"),
        Check("no mask of a failure", not left, ", ".join(left)),
    ]


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


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _line_with(pattern: re.Pattern[bytes], log: bytes) -> str:
    return next((line.decode(errors="replace") for line in log.splitlines() if pattern.search(line)), "")
