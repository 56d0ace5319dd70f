"""Speed of training on this machine: ``python -m bench.training``.

Runs the training command on phantoms in several settings and reads its metrics.csv: crops per second, share of the time
spent waiting for crops, and peak memory on a GPU.
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

PHANTOMS = 8
ROWS = 8  # rows of metrics.csv in a run; the first row includes the start and is not used
DEMONSTRATION = (
    *("--filters", "8", "16", "32", "64", "80", "80", "--spacing", "4", "4", "4", "--suv-range", "0", "15"),
    *("--window", "96", "64", "96", "--crop", "96", "64", "96"),
)
AUGMENTATION = (
    *("--in-patient", "0.9", "--lesion-free", "0.2", "--small-lesions", "0.6", "--jitter", "0.4", "--blur", "0.15"),
    *("--noise", "0.15", "--gamma", "0.2", "--scale", "0.3", "--transplant", "0.4", "--clip", "1", "--ema", "0.999"),
    "--deep-supervision",
)
BFLOAT16 = ("--precision", "bfloat16")
ROUNDS = ("--interactive", "--rounds", "10")


@dataclass(frozen=True)
class Setting:
    """A setting of the training command.

    Attributes
    ----------
    name
        Its name in the table.
    options
        Options of the command.
    steps
        Steps between two rows of metrics.csv.
    """

    name: str
    options: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class Figures:
    """Figures of a setting.

    Attributes
    ----------
    setting
        Its name.
    seconds_per_step, patches_per_second
        Medians over the rows of metrics.csv, waiting included.
    fastest, slowest
        Smallest and largest seconds per step among the rows.
    waiting
        Share of the time spent waiting for crops, over all rows.
    gpu_gb
        Peak memory of tensors; None on a CPU.
    """

    setting: str
    seconds_per_step: float
    patches_per_second: float
    fastest: float
    slowest: float
    waiting: float
    gpu_gb: float | None


def settings_for(device: str) -> list[Setting]:
    """Return the settings to measure: mostly the recipe on a GPU, smaller networks and crops on a CPU."""
    if device == "cuda":
        float16 = ("--precision", "float16")
        return [
            Setting("recipe, 224³ in windows of 128³, float16", float16, 5),
            Setting("recipe, 224³ in windows of 128³, bfloat16", BFLOAT16, 5),
            Setting("recipe with clicks, float16", (*float16, "--interactive"), 5),
            Setting("recipe in 10 rounds, float16", (*float16, *ROUNDS), 2),
            Setting("recipe, whole crops of 224³, float16", (*float16, "--whole-crops"), 10),
            Setting("recipe, whole crops of 224³, float16, compiled", (*float16, "--whole-crops", "--compile"), 10),
            Setting(
                "demonstration, bfloat16",
                (*DEMONSTRATION, *AUGMENTATION, *BFLOAT16, "--batch", "8"),
                25,
            ),
        ]
    return [
        Setting("demonstration, bfloat16", (*DEMONSTRATION, *AUGMENTATION, *BFLOAT16), 15),
        Setting("demonstration with clicks, bfloat16", (*DEMONSTRATION, *AUGMENTATION, *BFLOAT16, "--interactive"), 15),
        Setting("demonstration in 10 rounds, bfloat16", (*DEMONSTRATION, *AUGMENTATION, *BFLOAT16, *ROUNDS), 3),
        Setting("demonstration, float32", (*DEMONSTRATION, *AUGMENTATION, "--precision", "float32"), 10),
        Setting("recipe, 128³, bfloat16", ("--crop", "128", "128", "128", *BFLOAT16), 1),
    ]


def measure(setting: Setting, *, device: str, donor_data: Path | None, work: Path) -> Figures:
    """Run the training command.

    Parameters
    ----------
    setting
        Options and number of steps.
    device
        Device of the network.
    donor_data
        Scans in the layout ``images`` whose lesions are transplanted; None: lesions of phantoms.
    work
        Folder for runs and for the store of prepared cases, which all settings share.

    Raises
    ------
    UserError
        If the run fails.
    """
    run = work / setting.name.replace(" ", "-")
    phantoms = f"phantom:{PHANTOMS}"
    data = [f"images:{donor_data.resolve()}", phantoms] if donor_data else [phantoms, "--donor-data", phantoms]
    command = [
        *(sys.executable, "-m", "swfastedit_core.train", "--output", str(run), "--store", str(work / "store")),
        *("--data", *data, "--steps", str(ROWS * setting.steps), "--log-every", str(setting.steps)),
        *("--device", device, "--save-every", "1000", *setting.options),
    ]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{setting.name}: {done.stderr.strip() or done.stdout.strip()}")
    batch = int(setting.options[setting.options.index("--batch") + 1]) if "--batch" in setting.options else 1
    return summarise(setting.name, read_metrics(run)[1:], batch=batch)


def summarise(name: str, rows: Sequence[dict[str, str]], *, batch: int) -> Figures:
    """Return the figures of a run from the rows of its metrics.csv."""
    seconds = [float(row["seconds_per_step"]) for row in rows]
    waited = sum(float(row["waiting"]) * s for row, s in zip(rows, seconds, strict=True))
    memory = [float(row["gpu_gb"]) for row in rows if row["gpu_gb"]]
    middle = statistics.median(seconds)
    return Figures(
        name, middle, batch / middle, min(seconds), max(seconds), waited / sum(seconds), max(memory, default=None)
    )


def to_markdown(results: Iterable[Figures]) -> str:
    """Return the table of `docs/training.md`."""
    lines = ["| setting | crops a second | seconds a step | waiting for crops | GPU memory |", "|---|---|---|---|---|"]
    for one in results:
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
    add("--only", metavar="TEXT", default="", help="measure only settings whose name contains TEXT")
    add("--donor-data", type=path_argument, metavar="DIR", help="folder with imagesTr and labelsTr; lesions of these "
        "scans are transplanted (default: those of the phantoms)")  # fmt: skip
    add("--output", type=path_argument, metavar="JSON", help="write the figures there")
    return parser


def _run(options: argparse.Namespace) -> None:
    device = resolve_device(options.device).type
    chosen = [setting for setting in settings_for(device) if options.only in setting.name]
    if not chosen:
        names = "; ".join(setting.name for setting in settings_for(device))
        raise UserError(f"--only {options.only}: no such setting, expected part of one of: {names}")
    results = []
    with tempfile.TemporaryDirectory() as work:
        for setting in chosen:
            results.append(measure(setting, device=device, donor_data=options.donor_data, work=Path(work)))
            say(to_markdown(results[-1:]).splitlines()[-1])
    say(to_markdown(results))
    if options.output:
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
