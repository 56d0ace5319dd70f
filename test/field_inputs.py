"""Scans as people in the field have them: contradicting, mislabelled, damaged. What the program must do with each.

``python test/field_inputs.py docs/errors.md`` runs `process.py` on each and writes the page of messages.
"""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import SimpleITK as sitk

SIZE_XYZ, SPACING_MM = (36, 32, 24), (8.0, 8.0, 9.0)
AFFINE = np.array([[-8.0, 0, 0, 140], [0, -8.0, 0, 120], [0, 0, 9.0, -100], [0, 0, 0, 1]])  # as ITK writes the identity
TALL = 70  # slices of a whole body, 63 cm
Expect = Literal["right", "warning", "error"]


@dataclass(frozen=True)
class FieldInput:
    """An input and what must happen to it.

    Attributes
    ----------
    group
        Section of the page.
    what
        The input in words.
    file
        Name of the file that `process.py` gets.
    expect
        "right": the mask equals that of the plain scan. "warning": a mask, and a warning with `words`.
        "error": no mask, exit code 1 and one line with `words`.
    words
        What the message must contain.
    write
        Writes the file.
    """

    group: str
    what: str
    file: str
    expect: Expect
    words: str
    write: Callable[[Path], None]


def values(slices: int = SIZE_XYZ[2]) -> np.ndarray:
    """Return a body of SUV 0.5 to 1.5 with a lesion and a bladder, float32 [Z, Y, X]."""
    z, y, x = np.ogrid[:slices, : SIZE_XYZ[1], : SIZE_XYZ[0]]
    body = ((x - 18) / 13) ** 2 + ((y - 16) / 10) ** 2 < 1
    array = np.where(body, np.random.default_rng(0).uniform(0.5, 1.5, (slices, SIZE_XYZ[1], SIZE_XYZ[0])), 0.0)
    array[(x - 12) ** 2 + (y - 16) ** 2 + (z - 12) ** 2 < 9] = 8.0
    array[(x - 19) ** 2 + (y - 15) ** 2 + (z - 4) ** 2 < 7] = 25.0
    return array.astype(np.float32)


def plain_image(array: np.ndarray | None = None) -> sitk.Image:
    """Return values as an image; the same place as `AFFINE`."""
    image = sitk.GetImageFromArray(values() if array is None else array)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((-140.0, -120.0, -100.0))
    return image


def itk(array: Callable[[], np.ndarray] | None = None) -> Callable[[Path], None]:
    """Return a writer of a MetaImage, compressed."""
    return lambda path: sitk.WriteImage(plain_image(None if array is None else array()), str(path), True)


def nifti(
    *, sform: np.ndarray = AFFINE, qform: np.ndarray = AFFINE, codes: tuple[int, int] = (1, 1), fields: tuple = (),
    array: Callable[[], np.ndarray] = values, kind: type = nibabel.Nifti1Image,
) -> Callable[[Path], None]:  # fmt: skip
    """Return a writer of a NIfTI with sform, qform, their codes, and fields of the header by offset and type."""

    def write(path: Path) -> None:
        image = kind(array().T, None)
        image.set_qform(qform, codes[1])
        image.set_sform(sform, codes[0])
        image.header["pixdim"][1:4] = SPACING_MM
        image.header.set_xyzt_units("mm")
        raw = bytearray(image.to_bytes())
        for offset, form, *numbers in fields:
            struct.pack_into("<" + form, raw, offset, *numbers)
        path.write_bytes(gzip.compress(bytes(raw), mtime=0) if path.name.endswith(".gz") else bytes(raw))

    return write


def metaimage(
    *changes: tuple[str, str], array: Callable[[], np.ndarray] = values, payload: bytes = b""
) -> Callable[[Path], None]:
    """Return a writer of a MetaImage that is not compressed, with changes of its header's text."""

    def write(path: Path) -> None:
        sitk.WriteImage(plain_image(array()), str(path), False)
        head, separator, voxels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
        for old, new in changes:
            assert old.encode() in head
            head = head.replace(old.encode(), new.encode(), 1)
        path.write_bytes(head + separator + voxels + payload)

    return write


def nrrd(*lines: str) -> Callable[[Path], None]:
    """Return a writer of an NRRD by hand, with lines for its geometry."""
    fields = ["NRRD0004", "type: float", "dimension: 3", f"sizes: {' '.join(map(str, SIZE_XYZ))}", "encoding: raw"]
    return lambda path: path.write_bytes(
        "\n".join([*fields, "endian: little", *lines, "", ""]).encode() + values().tobytes()
    )


def content(data: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    """Return a writer of bytes."""
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data()) and None


def with_nan(share: float) -> Callable[[], np.ndarray]:
    """Return a maker of values, of which the last are NaN."""

    def make() -> np.ndarray:
        array = values()
        array.reshape(-1)[int((1 - share) * array.size) :] = np.nan
        return array

    return make


def packed_nifti() -> bytes:
    """Return a compressed NIfTI."""
    with tempfile.TemporaryDirectory() as folder:
        nifti()(Path(folder) / "a.nii.gz")
        return (Path(folder) / "a.nii.gz").read_bytes()


def truncated(path: Path) -> None:
    """Write a MetaImage that ends early."""
    itk()(path)
    path.write_bytes(path.read_bytes()[:-500])


def flipped(path: Path) -> None:
    """Write a MetaImage with one wrong byte in its compressed voxels."""
    itk()(path)
    raw = bytearray(path.read_bytes())
    raw[-1000] ^= 4
    path.write_bytes(raw)


def hot_voxel() -> np.ndarray:
    """Return values with one hot voxel apart from the body."""
    array = values()
    array[20, 2, 2] = 3.0
    return array


def other(**elements: float) -> np.ndarray:
    """Return AFFINE with other elements: m01=5 for row 0, column 1."""
    affine = AFFINE.copy()
    for name, value in elements.items():
        affine[int(name[1]), int(name[2])] = value
    return affine


LPS = "space: left-posterior-superior"
CENTIMETRES = ("space directions: (0.8,0,0) (0,0.8,0) (0,0,0.9)", "space origin: (-14,-12,-10)")
GEOMETRY, VALUES, LENGTHS, SUV, KIND = (
    "Where the scan lies", "Values and their scale", "Size and units", "Is it a PET in SUV, and a patient?",
    "What the file is",
)  # fmt: skip
INPUTS = (
    FieldInput(GEOMETRY, "NIfTI, sform and qform disagree about left and right", "mirrored.nii.gz", "error",
               "contradict each other about left and right", nifti(sform=other(m00=8.0, m03=-140.0))),
    FieldInput(GEOMETRY, "NIfTI, sform and qform disagree about the voxel size", "sizes.nii.gz", "error",
               "give voxels of", nifti(sform=other(m22=4.5))),
    FieldInput(GEOMETRY, "NIfTI, sform beside a pixdim of 1, 1, 1, no qform", "pixdim.nii.gz", "error",
               "sform and pixdim give voxels of", nifti(codes=(1, 0), fields=((76, "4f", 1, 1, 1, 1),))),
    FieldInput(GEOMETRY, "NIfTI, sform and qform shifted against each other", "shifted.nii.gz", "warning",
               "the sform was taken", nifti(qform=other(m03=180.0))),
    FieldInput(GEOMETRY, "NIfTI, sform and qform codes 0", "no_codes.nii", "warning",
               "gives no patient axes", nifti(codes=(0, 0))),
    FieldInput(GEOMETRY, "NIfTI, sheared sform beside a qform", "sheared.nii.gz", "error",
               "not orthogonal", nifti(sform=other(m12=0.6))),
    FieldInput(GEOMETRY, "NIfTI, sheared sform, no qform", "sheared_only.nii.gz", "error",
               "resample the scan first", nifti(sform=other(m12=0.6), codes=(1, 0))),
    FieldInput(GEOMETRY, "MetaImage, axes that are not orthonormal", "sheared.mha", "error",
               "not orthonormal", metaimage(("TransformMatrix = 1 0 0", "TransformMatrix = 1 0.2 0"))),
    FieldInput(GEOMETRY, "NRRD without a space", "no_space.nrrd", "warning",
               "gives no patient axes", nrrd("spacings: 8 8 9")),
    FieldInput(VALUES, "28 voxels are NaN", "some_nan.mha", "warning",
               "were not finite numbers and became 0", itk(with_nan(0.001))),
    FieldInput(VALUES, "the same in NIfTI", "some_nan.nii.gz", "warning",
               "were not finite numbers and became 0", nifti(array=with_nan(0.001))),
    FieldInput(VALUES, "98 % of the voxels are NaN", "nan.nii.gz", "error",
               "are not finite numbers, expected a PET in SUV", nifti(array=with_nan(0.98))),
    FieldInput(VALUES, "NIfTI, slope 0 with intercept 5: the standard says not to scale", "slope_0.nii.gz", "right", "",
               nifti(fields=((112, "2f", 0.0, 5.0),))),
    FieldInput(VALUES, "NIfTI, slope NaN", "slope_nan.nii.gz", "warning",
               "they were not scaled", nifti(fields=((112, "f", np.nan),))),
    FieldInput(VALUES, "NIfTI, infinite slope", "slope_inf.nii.gz", "error",
               "expected finite numbers", nifti(fields=((112, "f", np.inf),))),
    FieldInput(VALUES, "MetaImage, ElementToIntensityFunctionSlope 0.5", "slope.mha", "warning",
               "were scaled as the header says", metaimage(
                   ("CompressedData = False\n", "CompressedData = False\nElementToIntensityFunctionSlope = 0.5\n"),
                   array=lambda: 2 * values())),
    FieldInput(LENGTHS, "NIfTI, bitpix contradicts datatype: datatype counts", "bitpix.nii.gz", "right", "",
               nifti(fields=((72, "h", 16),))),
    FieldInput(LENGTHS, "NIfTI, negative size", "negative.nii.gz", "error",
               "expected three positive numbers", nifti(fields=((46, "h", -24),))),
    FieldInput(LENGTHS, "NIfTI in metres", "metres.nii.gz", "right", "",
               nifti(sform=AFFINE / 1000, qform=AFFINE / 1000, fields=(
                   (76, "4f", 1, *(mm / 1000 for mm in SPACING_MM)), (123, "B", 1)))),
    FieldInput(LENGTHS, "NIfTI, a unit code that does not exist", "unit.nii.gz", "warning",
               "which is unknown", nifti(fields=((123, "B", 6),))),
    FieldInput(LENGTHS, "NIfTI with a fourth axis of one", "fourth_axis.nii.gz", "right", "",
               nifti(fields=((40, "5h", 4, *SIZE_XYZ, 1),))),
    FieldInput(LENGTHS, "NIfTI with three time points", "dynamic.nii.gz", "error",
               "expected three: one static volume", nifti(fields=((40, "5h", 4, *SIZE_XYZ, 3),))),
    FieldInput(LENGTHS, "MetaImage with a fourth axis of one", "fourth_axis.mha", "right", "", metaimage(
        ("NDims = 3", "NDims = 4"), ("DimSize = 36 32 24", "DimSize = 36 32 24 1"),
        ("ElementSpacing = 8 8 9", "ElementSpacing = 8 8 9 1"), ("-100\n", "-100 0\n"),
        ("CenterOfRotation = 0 0 0\n", ""),
        ("TransformMatrix = 1 0 0 0 1 0 0 0 1", "TransformMatrix = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"))),
    FieldInput(LENGTHS, "MetaImage without ElementSpacing", "no_spacing.mha", "error",
               "gives no voxel spacing", metaimage(("ElementSpacing = 8 8 9\n", ""))),
    FieldInput(LENGTHS, "MetaImage, MET_LONG written with 8 bytes", "long.mha", "error",
               "a slice or more is left over", metaimage(("MET_LONG_LONG", "MET_LONG"),
                                                         array=lambda: values().astype(np.int64))),
    FieldInput(LENGTHS, "MetaImage, a few bytes behind the voxels", "padded.mha", "warning",
               "the rest is ignored", metaimage(payload=b"more")),
    FieldInput(LENGTHS, "NRRD, a spacing that is NaN", "spacing_nan.nrrd", "error",
               "expected three positive numbers", nrrd("spacings: 8 8 nan")),
    FieldInput(LENGTHS, "NRRD, space directions none", "none.nrrd", "error",
               "expected 3 vectors", nrrd(LPS, "space directions: (8,0,0) (0,8,0) none")),
    FieldInput(LENGTHS, "NRRD in centimetres", "centimetres.nrrd", "right", "",
               nrrd(LPS, *CENTIMETRES, 'space units: "cm" "cm" "cm"')),
    FieldInput(LENGTHS, "the same without its unit", "no_unit.nrrd", "warning",
               "hardly a body", nrrd(LPS, *CENTIMETRES)),
    FieldInput(LENGTHS, "voxels of 999 mm", "giant.mha", "error",
               "expected 3 m at most", metaimage(("ElementSpacing = 8 8 9", "ElementSpacing = 999 999 999"))),
    FieldInput(SUV, "whole body in kBq/ml", "kbq.mha", "warning", "is the file in kBq/ml",
               itk(lambda: 5 * values(TALL))),
    FieldInput(SUV, "whole body in Bq/ml", "bq.mha", "warning", "is the file in Bq/ml",
               itk(lambda: 5000 * values(TALL))),
    FieldInput(SUV, "whole body divided by its maximum", "normalised.mha", "warning",
               "divided by their maximum", itk(lambda: values(TALL) / 25)),
    FieldInput(SUV, "z-scores", "z_score.mha", "warning", "was the scan normalised",
               itk(lambda: ((values(TALL) - values(TALL).mean()) / values(TALL).std()))),
    FieldInput(SUV, "grey levels of 8 bits", "bytes.mha", "warning", "whole numbers of 8 bits",
               itk(lambda: (4 * values(TALL)).astype(np.uint8))),
    FieldInput(SUV, "a CT instead of the PET", "ct.mha", "warning", "is it a CT in HU",
               itk(lambda: 40 * values(TALL) - 1000)),
    FieldInput(SUV, "a mask instead of the PET", "mask.mha", "warning", "is it a mask",
               itk(lambda: (values() > 5).astype(np.float32))),
    FieldInput(SUV, "one value everywhere", "uniform.mha", "warning", "there is no image in it",
               itk(lambda: np.ones_like(values()))),
    FieldInput(SUV, "a single hot voxel apart from the body", "hot_voxel.mha", "warning", "single hot voxel",
               itk(hot_voxel)),
    FieldInput(KIND, "Git LFS pointer", "pointer.mha", "error", "git lfs pull",
               content(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")),
    FieldInput(KIND, "web page", "login.nii.gz", "error", "is a web page", content(b"<!DOCTYPE html><html></html>")),
    FieldInput(KIND, "zip archive", "zip.nii.gz", "error", "is a zip archive", content(b"PK\x03\x04" + bytes(100))),
    FieldInput(KIND, "DICOM file", "slice.mha", "error", "single DICOM file",
               content(bytes(128) + b"DICM" + bytes(99))),
    FieldInput(KIND, "empty file", "empty.nrrd", "error", "the file is empty", content(b"")),
    FieldInput(KIND, "NIfTI called .mha", "nifti.mha", "error", "is a .nii file by its first bytes",
               content(lambda: gzip.decompress(packed_nifti()))),
    FieldInput(KIND, "gzip called .nii", "packed.nii", "right", "", content(packed_nifti)),
    FieldInput(KIND, "NIfTI-2", "nifti2.nii.gz", "right", "", nifti(kind=nibabel.Nifti2Image)),
    FieldInput(KIND, "truncated", "truncated.mha", "error", "truncated", truncated),
    FieldInput(KIND, "one byte of the compressed voxels is wrong", "flipped.mha", "error", "damaged", flipped),
    FieldInput(KIND, "compressed twice", "twice.nii.gz", "error", "is compressed twice",
               content(lambda: gzip.compress(packed_nifti(), mtime=0))),
    FieldInput(KIND, "upper-case ending", "scan.NII", "error", "in lower case", nifti()),
)  # fmt: skip


def page(rows: list[tuple[FieldInput, str]]) -> str:
    """Return docs/errors.md: for each input what happens, and the message.

    Parameters
    ----------
    rows
        Inputs, and what the program said without the folder.
    """
    lines = [
        "# Warnings and errors", "",
        "What the program does with input that is ambiguous, false or not a PET. A *warning* is printed, stands in",
        "`warnings` of the JSON, and the mask is written. An *error* is one line on standard error, exit code 1,",
        "and no mask. *None* means that the input is read as it is meant.",
        "",
        "Two things are not seen. The mean uptake is judged only in scans of more than 50 cm from head to foot,",
        "and a mean of 0.2 to 2.5 passes. Axes are taken as the header gives them: an array that was saved with",
        "its axes in another order, or upside down, is segmented as it lies.",
        "",
        "The page holds the messages of `process.py`. `python test/field_inputs.py docs/errors.md` makes the",
        "inputs, runs it and writes the page.",
    ]  # fmt: skip
    for group in dict.fromkeys(one.group for one, _ in rows):
        lines += ["", f"## {group}", "", "| input | | message |", "|---|---|---|"]
        for one, message in rows:
            if one.group == group:
                kind = "none" if one.expect == "right" else one.expect
                lines.append(f"| {one.what} | {kind} | {message.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main(target: Path) -> None:
    """Run `process.py` on every input and write the page."""
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
    from program import write_two_networks

    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_two_networks(folder)
        for one in INPUTS:
            one.write(folder / one.file)
            command = [sys.executable, "process.py", "--pet", str(folder / one.file), "--output", str(folder / "masks"),
                       "--weights", str(folder / "1.safetensors"), "--overlap", "0", "--quiet"]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = json.loads(done.stdout)["warnings"] if done.returncode == 0 else [done.stderr.strip()]
            rows.append((one, "; ".join(said).replace(f"{folder}/", "")))
    target.write_text(page(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
