"""Stands in for the program in images that break one check each: python fault.py FAULT.

Apart from its fault it is a correct algorithm that finds no lesions.
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
    """Write a mask, faulty in one way; return the exit code."""
    (file,) = Path("/input/images/pet").glob("*.mha")
    pet = sitk.ReadImage(str(file))
    before(fault)
    write_mask(pet, file.name, fault)
    after(fault)
    return 3 if fault == "exit code" else 0


def write_mask(pet: sitk.Image, name: str, fault: str) -> None:
    """Find nothing, and write that down."""
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
    if fault == "two files":
        sitk.WriteImage(mask, str(SOCKET / "second.mha"))


def before(fault: str) -> None:
    """Do what should not be done while working."""
    if fault == "input":
        Path("/input/marker").touch()
    if fault == "hidden file":
        Path("/opt/ml/model/weights").read_bytes()
    if fault == "cache":
        (Path.home() / ".cache").mkdir()
        (Path.home() / ".cache/kernels").touch()
    if fault == "network":
        urllib.request.urlopen("http://grand-challenge.org", timeout=5)
    if fault == "heap":  # meets the limit of the data segment
        blocks = []
        while True:
            blocks.append(bytearray(2**26))
    if fault == "shared memory":  # is no part of it, and meets the control group's limit
        maps = []
        while True:
            maps.append(mmap.mmap(-1, 2**26))
            maps[-1].write(bytes(2**26))
    if fault == "time":
        time.sleep(3600)


def after(fault: str) -> None:
    """Do what should not be done at the end."""
    if fault == "child":
        subprocess.Popen(["sleep", "3600"])
    if fault == "stderr":
        print("a warning of a library", file=sys.stderr)
    if fault == "log":
        sys.stdout.buffer.write(b"caf\xe9\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
