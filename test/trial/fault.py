"""An algorithm with one fault, for images that fail one check: ``python fault.py FAULT``.

Except for its fault it is correct, and writes an empty mask.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import SimpleITK as sitk

SOCKET = Path("/output/images/automated-petct-lesion-segmentation")


def main(fault: str) -> int:
    """Write a mask, with the fault; return the exit code."""
    (file,) = Path("/input/images/pet").glob("*.mha")
    pet = sitk.ReadImage(str(file))
    run_fault_before(fault)
    write_mask(pet, file.name, fault)
    run_fault_after(fault)
    return 3 if fault == "exit code" else 0


def write_mask(pet: sitk.Image, name: str, fault: str) -> None:
    """Write an empty mask, or one with the fault."""
    mask = sitk.Image(pet.GetSize(), sitk.sitkFloat32 if fault == "float mask" else sitk.sitkUInt8)
    mask.CopyInformation(pet)
    if fault == "wrong spacing":
        mask.SetSpacing([2 * mm for mm in pet.GetSpacing()])
    if fault == "values":
        mask[0, 0, 0] = 2
    SOCKET.mkdir(parents=True)
    if fault == "nifti":
        sitk.WriteImage(mask, str(SOCKET / "mask.nii.gz"))
    elif fault != "nothing":
        sitk.WriteImage(mask, str(SOCKET / name))
    if fault == "stray file":
        Path("/output/notes.txt").touch()
    if fault == "two files":
        sitk.WriteImage(mask, str(SOCKET / "second.mha"))


def run_fault_before(fault: str) -> None:
    """Run a fault that comes before the mask is written."""
    if fault == "input":
        Path("/input/marker").touch()
    if fault == "hidden file":
        Path("/opt/ml/model/weights").read_bytes()
    if fault == "cache":
        (Path.home() / ".cache").mkdir()
        (Path.home() / ".cache/kernels").touch()
    if fault == "network":
        urllib.request.urlopen("http://grand-challenge.org", timeout=5)
    if fault == "heap":  # reaches the limit on the data segment
        blocks = []
        while True:
            blocks.append(bytearray(2**26))
    if fault == "shared memory":  # is not part of the data segment, and reaches the limit of the control group
        maps = []
        while True:
            maps.append(mmap.mmap(-1, 2**26))
            maps[-1].write(bytes(2**26))
    if fault == "time":
        time.sleep(3600)


def run_fault_after(fault: str) -> None:
    """Run a fault that comes after the mask is written."""
    if fault == "child":
        subprocess.Popen(["sleep", "3600"])
    if fault == "stderr":
        print("a warning of a library", file=sys.stderr)
    if fault == "log":
        sys.stdout.buffer.write(b"caf\xe9\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
