"""How fast training is on this machine: ``python -m bench.training``.

Runs the training command on phantoms, one setting after the other, and reads its own records: crops a second, the share
of the time that the network waited for crops, and on a GPU the most memory in use.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from swfastedit_core.engine import resolve_device
from swfastedit_core.errors import UserError
from swfastedit_core.system.atomic import replacing
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.train.run.log import read_metrics

RECORDS = 8  # of a run; the first one, with everything that happens only once, is not counted
DEMONSTRATION = (
    *("--filters", "8", "16", "32", "64", "80", "80", "--spacing", "4", "4", "4", "--suv-range", "0", "15"),
    *("--window", "96", "64", "96", "--crop", "96", "64", "96"),
)
BEYOND = (
    *("--in-patient", "0.9", "--whole-view", "0.2", "--small-lesions", "0.6", "--jitter", "0.4", "--blur", "0.15"),
    *("--noise", "0.15", "--gamma", "0.2", "--scale", "0.3", "--transplant", "0.4", "--clip", "1", "--ema", "0.999"),
    "--deep-supervision",
)


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes
    ----------
    name
        As in the table.
    options
        Of the training command.
    steps
        Between two records.
    """

    name: str
    options: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class Figures:
    """What a setting came to: medians over the records of its run.

    Attributes
    ----------
    setting
        Its name.
    seconds_per_step, patches_per_second
        With the waiting.
    fastest, slowest
        Seconds a step, of the records.
    waiting
        Share of the time, of all records.
    gpu_gb
        Most memory that tensors held; None on a CPU.
    """

    setting: str
    seconds_per_step: float
    patches_per_second: float
    fastest: float
    slowest: float
    waiting: float
    gpu_gb: float | None


def settings_for(device: str) -> list[Setting]:
    """List what is worth a measurement: on a GPU the recipe itself, on a CPU what one would train there."""
    if device == "cuda":
        recipe = ("--precision", "float16")
        return [
            Setting("recipe, 224³, float16", recipe, 10),
            Setting("recipe, 224³, bfloat16", ("--precision", "bfloat16"), 10),
            Setting("recipe, 224³, float16, compiled", (*recipe, "--compile"), 10),
            Setting("recipe, 224³, float16, in windows of 128³", (*recipe, "--train-in-windows", "0.25"), 5),
            Setting(
                "demonstration, bfloat16", (*DEMONSTRATION, *BEYOND, "--precision", "bfloat16", "--batch", "8"), 25
            ),
        ]
    return [
        Setting("demonstration, bfloat16", (*DEMONSTRATION, *BEYOND, "--precision", "bfloat16"), 15),
        Setting("demonstration, float32", (*DEMONSTRATION, *BEYOND, "--precision", "float32"), 10),
        Setting("recipe, 128³, bfloat16", ("--crop", "128", "128", "128", "--precision", "bfloat16"), 1),
    ]


def measure(setting: Setting, *, device: str, donors: Path | None, work: Path) -> Figures:
    """Run the training command.

    Parameters
    ----------
    setting
        What with.
    device
        Where.
    donors
        Scans in the layout ``images`` whose lesions are transplanted; None: phantoms give theirs.
    work
        Folder for the run; prepared cases are shared among the settings.

    Raises
    ------
    UserError
        If the run fails.
    """
    run = work / setting.name.replace(" ", "-")
    phantoms = "phantom:8"
    data = [f"images:{donors.resolve()}", phantoms] if donors else [phantoms, "--donors", phantoms]
    command = [
        *(sys.executable, "-m", "swfastedit_core.train", "--output", str(run), "--store", str(work / "store")),
        *("--data", *data, "--steps", str(RECORDS * setting.steps), "--log-every", str(setting.steps)),
        *("--device", device, "--save-every", "1000", *setting.options),
    ]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{setting.name}: {done.stderr.strip() or done.stdout.strip()}")
    batch = int(setting.options[setting.options.index("--batch") + 1]) if "--batch" in setting.options else 1
    return summed_up(setting.name, read_metrics(run)[1:], batch=batch)


def summed_up(name: str, records: Sequence[dict[str, str]], *, batch: int) -> Figures:
    """Take the medians over the rows of a metrics.csv."""
    seconds = [float(row["seconds_per_step"]) for row in records]
    waited = sum(float(row["waiting"]) * s for row, s in zip(records, seconds, strict=True))
    memory = [float(row["gpu_gb"]) for row in records if row["gpu_gb"]]
    middle = statistics.median(seconds)
    return Figures(
        name, middle, batch / middle, min(seconds), max(seconds), waited / sum(seconds), max(memory, default=None)
    )


def in_markdown(found: Iterable[Figures]) -> str:
    """Return the table of `docs/training.md`."""
    lines = ["| setting | crops a second | seconds a step | waiting for crops | GPU memory |", "|---|---|---|---|---|"]
    for one in found:
        spread = f"{one.seconds_per_step:.2f} ({one.fastest:.2f} to {one.slowest:.2f})"
        memory = "" if one.gpu_gb is None else f"{one.gpu_gb:.1f} GB"
        lines.append(f"| {one.setting} | {one.patches_per_second:.2f} | {spread} | {one.waiting:.1%} | {memory} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m bench.training", description=__doc__)
    add = parser.add_argument
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: %(default)s")
    add("--only", metavar="TEXT", default="", help="settings whose name holds this")
    add("--donors", type=path_argument, metavar="DIR", help="scans with imagesTr and labelsTr whose lesions are "
        "transplanted (default: those of the phantoms)")  # fmt: skip
    add("--output", type=path_argument, metavar="JSON", help="write the figures there")
    return parser


def _run(options: argparse.Namespace) -> None:
    device = resolve_device(options.device).type
    chosen = [setting for setting in settings_for(device) if options.only in setting.name]
    if not chosen:
        names = "; ".join(setting.name for setting in settings_for(device))
        raise UserError(f"--only {options.only}: no such setting, expected a part of one of: {names}")
    found = []
    with tempfile.TemporaryDirectory() as work:
        for setting in chosen:
            found.append(measure(setting, device=device, donors=options.donors, work=Path(work)))
            say(in_markdown(found[-1:]).splitlines()[-1])
    say(in_markdown(found))
    if options.output:
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
