"""A command line that cannot be followed fails in one line, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import SimpleITK as sitk
from program import assert_failed, files, scan, spoil

from swfastedit_core.challenge.options import parse
from swfastedit_core.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "{nowhere}"], "no such file or folder"),
        (["--weights", "{empty}"], "the folder holds no weights"),
        (["--weights", "{damaged}"], "not a readable .safetensors file"),
        (["--device", "tpu"], "expected auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "use --device cpu or auto"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
        (["--precision", "float16", "--device", "cpu"], "float16"),
        (["--overlap", "1"], "--overlap 1.0, expected 0 or more and less than 1"),
        (["--overlap", "nan"], "--overlap nan"),
        (["--window-batch", "0"], "--window-batch 0, expected 1 or more"),
        (["--window-batch", "many"], "invalid int value"),
        (["--min-lesion-ml", "-1"], "--min-lesion-ml -1.0"),
        (["--region", "head"], "invalid choice: 'head'"),
        (["--input", "{empty}"], "--input names a folder of the platform, and scans are named, too; give one of them"),
        (
            ["--api-method", "invoke"],
            "--api-method invoke and --data-centric belong to the platform's folders, and scans are named",
        ),
        (
            ["--data-centric", "true"],
            "--api-method invoke and --data-centric belong to the platform's folders, and scans are named",
        ),
        (["--data-centric", "yes"], "invalid choice: 'yes'"),
        (["--task", "autopet9"], "invalid choice: 'autopet9'"),
        (["--port", "0"], "--port 0, expected 1 to 65535"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; see process.py --help"),
        (["--ct", "a.mha", "--ct", "b.mha"], "--ct is given twice, expected the CT of one scan"),
        (["--output", "{file}/out"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", "{file}"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", "{link}/out"], "is not a folder, and scan.mha should be written in it; choose another"),
        (["--output", ""], "an empty name, expected a file or folder"),
        (["--weights", "{pipe}"], "is not a file or folder, expected weights"),
        (["--weights", "{good}", "--weights", "{good}"], "these weights are named twice"),
        (["--output", "{here}"], "the mask would replace the scan"),
    ],
)
def test_wrong_command_line_fails_in_one_line_and_writes_nothing(arguments, words, tmp_path, weights, run):
    places = {name: tmp_path / name for name in ("nowhere", "empty", "file", "link", "pipe", "damaged")}
    places["good"] = weights / "1.safetensors"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    pet = tmp_path / "here" / "scan.mha"
    pet.parent.mkdir()
    sitk.WriteImage(scan(), str(pet))
    places["here"] = pet.parent
    places["damaged"] = tmp_path / "damaged.safetensors"
    places["damaged"].write_bytes((weights / "1.safetensors").read_bytes())
    spoil(places["damaged"])
    before = files(tmp_path)
    given = [argument.format(**places) for argument in arguments]
    common = ["--pet", pet, "--output", tmp_path / "out"] if "--output" not in given else ["--pet", pet]
    if "--weights" not in given:
        common += ["--weights", weights / "1.safetensors"]
    assert_failed(run(*common, *given), words)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--region 'full", "No closing quotation"),
        ("--region head", "argument --region: invalid choice: 'head'"),
        ("--frobnicate", "unrecognized arguments: --frobnicate"),
        ("--overlap 1", "--overlap 1.0, expected 0 or more and less than 1"),
        ("--pet scan.mha", "names a scan; scans are named on the command line"),
        ("scan.mha", "names a scan; scans are named on the command line"),
        ("--ct ct.mha", "names a scan; scans are named on the command line"),
    ],
)
def test_wrong_options_of_an_image_name_the_variable(words, reason, tmp_path, run):
    done = run(tmp_path / "scan.mha", baked_in=words)
    assert_failed(done)
    assert done.stderr.startswith(f"SWFASTEDIT_OPTIONS: {reason}")
    done = run("--frobnicate", baked_in="--region full")
    assert_failed(done)
    assert done.stderr.startswith("unrecognized arguments: --frobnicate; see process.py --help")


@pytest.mark.parametrize(
    ("words", "image", "expected"),
    [
        ("", "", {"pets": (), "input": Path("/input"), "output": Path("/output")}),
        ("", "--input i --output o", {"pets": (), "input": Path("i"), "output": Path("o")}),
        ("--output p", "--input i --output o", {"input": Path("i"), "output": Path("p")}),
        ("a.nii", "--input i --output o", {"pets": (Path("a.nii"),), "output": Path("masks")}),
        ("a.nii --output p", "--output o", {"pets": (Path("a.nii"),), "output": Path("p")}),
        ("--quiet a --vote b", "", {"pets": (Path("a"), Path("b")), "quiet": True}),
        ("--pet a b --quiet --pet c", "", {"pets": (Path("a"), Path("b"), Path("c"))}),
        ("a", "--api-method invoke --data-centric true", {"api_method": "exec", "data_centric": None}),
        ("", "--api-method invoke --data-centric true", {"api_method": "invoke", "data_centric": True}),
        ("--weights a --weights b", "--weights c --quiet", {"weights": (Path("a"), Path("b")), "quiet": True}),
        ("", "--weights c --port 81", {"weights": (Path("c"),), "port": 81}),
    ],
)
def test_options_of_the_command_line_override_those_of_the_image(words, image, expected):
    options = parse(words.split(), baked_in=image)
    assert {name: getattr(options, name) for name in expected} == expected


def test_input_folder_without_a_scan_fails(tmp_path, run):
    assert_failed(run("--input", tmp_path, "--output", tmp_path / "out"), "no such folder, expected the PET there")
    (tmp_path / "images/pet").mkdir(parents=True)
    (tmp_path / "images/pet/scan.nii.gz").touch()
    done = run("--input", tmp_path, "--output", tmp_path / "out")
    assert_failed(done, "found scan.nii.gz, expected one .mha file")
    assert not (tmp_path / "out").exists()


def test_words_after_two_dashes_are_scans():
    options = parse(["--quiet", "a.nii.gz", "--", "-b.nii.gz", "--ct"], baked_in="")
    assert options.pets == (Path("a.nii.gz"), Path("-b.nii.gz"), Path("--ct"))


def test_help_is_no_option_of_an_image():
    with pytest.raises(UserError, match=r"^SWFASTEDIT_OPTIONS: --help ends the program without a mask"):
        parse([], baked_in="--region full --help")
