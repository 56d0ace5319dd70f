"""Count the warnings about scans that are what they should be: each one is a false alarm.

``python -m bench.false_alarms --phantoms 200 --scans FILE…``
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from swfastedit_core.body import find_body, mean_cells
from swfastedit_core.errors import DataWarning
from swfastedit_core.files.read import read_volume
from swfastedit_core.files.write import write_volume
from swfastedit_core.phantom import make_phantom
from swfastedit_core.preprocess import Preprocessing, place, to_network_grid

SEED = 7000
CPU = torch.device("cpu")


def alarms(pet: Path) -> list[str]:
    """Return the warnings about a scan: those of the reader, and hot spots apart from the body."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        volume = read_volume(pet)
    spacing_mm = Preprocessing().spacing_mm
    suv = to_network_grid(volume, place(volume.geometry, spacing_mm), CPU)
    body = find_body(mean_cells(suv, spacing_mm))
    spots = [f"hot spots apart from the body: {body.spots_ml}"] if body and body.spots_ml else []
    return [str(one.message) for one in caught if issubclass(one.category, DataWarning)] + spots


def phantoms(count: int, folder: Path) -> Iterator[Path]:
    """Write phantoms one after the other under one name; yield the file."""
    for seed in range(SEED, SEED + count):
        path = folder / f"phantom_{seed}.nii.gz"
        write_volume(make_phantom(seed).pet, path)
        yield path
        path.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Print each false alarm and their number; return 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_alarms", description=__doc__)
    parser.add_argument(
        "--phantoms", type=int, default=200, metavar="N", help="phantoms to make (default: %(default)s)"
    )
    parser.add_argument("--scans", type=Path, nargs="*", default=[], metavar="FILE", help="scans in SUV")
    options = parser.parse_args(arguments)
    scans = found = 0
    with TemporaryDirectory() as folder:
        for paths in (options.scans, phantoms(options.phantoms, Path(folder))):
            for path in paths:
                scans += 1
                for message in alarms(path):
                    found += 1
                    print(f"{path.name}: {message}", flush=True)
    print(f"{found} false alarm(s) in {scans} scans")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
