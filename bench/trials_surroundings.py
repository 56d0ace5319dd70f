"""Trials of a machine that lacks something: memory, disk space, a folder, streams, a locale."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.trial_programs import PROCESS, ROOT, TEST_SCAN, Ended, call, environment, limited, require, write_scan
from swfastedit_core.files.write import is_own_mask

ADDRESS_SPACE_KB = (100_000, 300_000, 1_000_000, 1_500_000, 1_600_000, 1_700_000, 1_800_000, 2_000_000, 4_000_000)
DATA_KB = (100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 1_000_000, 4_000_000)
RESUME_TEST = "test/train/run/test_recorder.py::test_run_killed_at_three_steps_ends_with_the_same_weights_bit_for_bit"


def _segment(scan: Path, output: Path) -> list[object]:
    return [*PROCESS, "--pet", scan, "--output", output, "--quiet"]


def _sweep(folder: Path, option: str, sizes_kb: Sequence[int]) -> str:
    """Run the program under rising limits; each run works or says that memory ran out."""
    worked, slowest = [], 0.0
    for size in sizes_kb:
        done = call(limited(f"{option} {size}", _segment(TEST_SCAN, folder / str(size))))
        slowest = max(slowest, done.seconds)
        if done.code == 0:
            worked.append(size)
            continue
        done.require_line("out of memory")
    require(4_000_000 in worked or 4_000_000 not in sizes_kb, "4 GB are not enough")
    least = f"works from {min(worked) / 1e6:.1f} GB on" if worked else "each refused"
    limits = f"{len(sizes_kb)} limits from {sizes_kb[0] / 1e6:.1f} to {sizes_kb[-1] / 1e6:.1f} GB"
    return f"{limits}: {least}, below that one line and exit code 1; at most {slowest:.0f} s"


def address_space(folder: Path, *, quick: bool) -> str:
    """Limit the address space."""
    return _sweep(folder, "-v", ADDRESS_SPACE_KB[2:3] if quick else ADDRESS_SPACE_KB)


def data_segment(folder: Path, *, quick: bool) -> str:
    """Limit the data."""
    return _sweep(folder, "-d", DATA_KB[2:3] if quick else DATA_KB)


def _mounted(options: str, folder: Path, command: Sequence[object]) -> list[object]:
    """Return a command that sees a small file system in memory at a folder."""
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *as_root, "sh", "-c", script, folder, *command]


def full_disk(folder: Path, *, quick: bool) -> str:
    """Fill the disk of the output, the temporary folder and standard output."""
    scan, full = write_scan(folder / "scan.nii"), folder / "full"
    full.mkdir()
    done = call(_mounted("size=16k", full, _segment(scan, full)))
    done.require_line("cannot be written", "No space left on device")
    done = call(_mounted("size=4k,nr_inodes=1", full, _segment(scan, folder / "masks")), more={"TMPDIR": str(full)})
    require(done.code == 0, f"with a full temporary folder: {done.err}")
    command = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *_segment(scan, folder / "masks")]
    call(command).require_line("standard output cannot be written (No space left on device)")
    return "output and standard output: one line; temporary folder: not needed"


def read_only(folder: Path, *, quick: bool) -> str:
    """Write into a file system that is read-only."""
    scan, output = write_scan(folder / "scan.mha"), folder / "output"
    output.mkdir()
    done = call(_mounted("ro", output, _segment(scan, output)))
    done.require_line("cannot be written there", "Read-only file system")
    return f"refused after {done.seconds:.1f} s, before the networks run"


def deleted_folder(folder: Path, *, quick: bool) -> str:
    """Start every command in a folder that was deleted."""
    module = [sys.executable, "-m"]
    commands: list[list[object]] = [
        [*PROCESS, "--pet", TEST_SCAN, "--output", "masks"],
        [*module, "swfastedit_core.train", "--output", "run", "--data", "phantom"],
        [*module, "swfastedit_core.checkpoint", "show", ROOT / "weights/demo.safetensors"],
        [*module, "swfastedit_core.phantom", "--output", "phantoms"],
    ]
    commands += [[ROOT / name] for name in ("run.sh", "test.sh", "build.sh", "export.sh")]
    for command in commands[:1] if quick else commands:
        gone = folder / "gone"
        gone.mkdir()
        done = call(["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *command], cwd=gone)
        lines = [line for line in done.err.splitlines() if not line.startswith("shell-init:")]  # bash's own
        Ended(done.code, done.out, "\n".join([*lines, ""]), 0.0).require_line("the working directory cannot be used")
    return f"{1 if quick else len(commands)} commands: one line each"


def closed_streams(folder: Path, *, quick: bool) -> str:
    """Close standard input, output and error, one by one and together."""
    scan = write_scan(folder / "scan.mha")
    for closing in ("<&- >&- 2>&-",) if quick else ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        output = folder / str(len(closing)) / closing[0]
        done = call(["sh", "-c", f'exec "$@" {closing}', "sh", *_segment(scan, output)])
        require(done.code == 0 and is_own_mask(output / "scan.mha"), f"{closing}: {done.err}")
    return "the mask is written"


def odd_locale(folder: Path, *, quick: bool) -> str:
    """Segment files with odd names in locales without UTF-8."""
    accents = write_scan(folder / "pét ß.nii.gz")
    broken = folder / os.fsdecode(b"p\xe9t.nii.gz")
    broken.write_bytes(accents.read_bytes())
    locales = ({"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "POSIX", "LANG": "POSIX"})
    for number, locale in enumerate(locales[:1] if quick else locales):
        output = folder / str(number)
        done = call(_segment(accents, output), more=locale)
        require(done.code == 0 and is_own_mask(output / accents.name), f"{locale}: {done.err}")
        call(_segment(broken, output), more=locale).require_line("the name is not UTF-8")
    return "as expected"


def resumed_training(folder: Path, *, quick: bool) -> str:
    """Kill a training run at three steps and resume it; a test compares all weights bit for bit."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", RESUME_TEST]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    require(done.returncode == 0, done.stdout[-500:])
    return f"equal, by `{RESUME_TEST.rpartition(':')[2]}`"
