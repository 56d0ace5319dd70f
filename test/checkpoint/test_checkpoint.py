from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DynUNet as MonaiDynUNet
from places import ROOT
from safetensors.torch import load_file, save_file

from swfastedit_core.checkpoint import (
    Channels,
    Checkpoint,
    CheckpointConfig,
    find_checkpoints,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from swfastedit_core.checkpoint import __main__ as command
from swfastedit_core.checkpoint.header import HEADER_KEY, from_header, to_header
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.model import ARCHITECTURES, NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

NARROW = NetworkConfig("dynunet", (2, 3, 4, 5, 6, 7))
EVERYTHING = CheckpointConfig(
    NetworkConfig("smalldynunet", (3, 4, 5)),
    Preprocessing((4.0, 4.5, 5.0), RangeIntensity(0.5, 20.0)),
    window=(32, 64, 16),
    labels=("background", "lymphoma"),
    training={"command": "python -m …", "seed": 3, "results": {"dice": 0.5}},
    licence="CC-BY-4.0",
    attribution="Müller & Søn, 2026",
    demonstration=True,
)


WITH_CT = replace(
    EVERYTHING,
    network=NetworkConfig("smalldynunet", (3, 4, 5), in_channels=2),
    preprocessing=Preprocessing((4.0, 4.5, 5.0), RangeIntensity(0.5, 20.0), ct_hu=(-160.0, 240.0)),
    channels=Channels.PET_CT,
)


def monai_network(config, seed=0):
    """Build MONAI's own network as the authors did."""
    torch.manual_seed(seed)
    levels, strides = len(config.filters), [(1, 1, 1), *config.architecture.strides]
    return MonaiDynUNet(
        3, config.in_channels, config.out_channels, kernel_size=[3] * levels, strides=strides,
        upsample_kernel_size=strides[1:], filters=list(config.filters), dropout=config.architecture.dropout or None,
        norm_name="instance", res_block=True,
    ).eval()  # fmt: skip


def checkpoint(config=None):
    config = config or CheckpointConfig(NARROW)
    return Checkpoint(Path("made here"), config, build_network(config.network).state_dict())


@pytest.fixture
def written(tmp_path):
    """Write narrow weights; return file and tensors, to be spoilt."""
    path = tmp_path / "weights.safetensors"
    write_checkpoint(checkpoint(), path)
    return path, load_file(path)


def respelled(path, tensors, header=None):
    """Write tensors with the header of narrow weights, or another one."""
    save_file(tensors, path, {HEADER_KEY: to_header(CheckpointConfig(NARROW)) if header is None else header})
    return path


def refused(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_of_the_authors_are_recognised_and_give_monais_output(name, tmp_path):
    filters = tuple(range(2, 2 + len(ARCHITECTURES[name].filters)))
    config = NetworkConfig(name, filters)
    monai = monai_network(config)
    path = tmp_path / "0.pt"
    torch.save({"net": monai.state_dict()}, path)
    found = read_checkpoint(path)
    assert found.config == CheckpointConfig.of_the_recipe(config)
    assert found.config.preprocessing == Preprocessing((2.03642011, 2.03642011, 3.0), PercentileIntensity(0.05, 99.95))
    assert found.config.window == (128, 128, 128)
    image = torch.randn((1, 1, *(2 * side for side in config.divisor_xyz)), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(found.network()(image), monai(image))


def test_full_network_has_the_published_size(tmp_path):
    state = monai_network(NetworkConfig("dynunet")).state_dict()
    assert len(state) == 68  # MONAI lists the blocks a second time as skip_layers
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"net": state, "opt": optimiser, "epoch": 400}, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    assert sum(tensor.numel() for tensor in found.tensors.values()) == 30_999_490
    assert found.config.network == NetworkConfig("dynunet", (32, 64, 128, 256, 320, 320))


def test_interactive_weights_of_the_authors_have_three_channels(tmp_path):
    torch.save({"net": monai_network(replace(NARROW, in_channels=3)).state_dict()}, tmp_path / "0.pt")
    assert read_checkpoint(tmp_path / "0.pt").config.channels == Channels.PET_CLICKS


def test_other_channel_counts_are_refused(tmp_path):
    torch.save({"net": monai_network(replace(NARROW, in_channels=2)).state_dict()}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt") == "2 input channels, expected 1 (PET) or 3 (PET and two guidance channels)"


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("config", [EVERYTHING, WITH_CT], ids=["pet", "pet and ct"])
def test_round_trip(config, half, tmp_path):
    path = tmp_path / "folder" / "all.safetensors"
    before = checkpoint(config)
    write_checkpoint(before, path, half=half)
    after = read_checkpoint(path)
    assert after.config == config == read_config(path)
    for name, tensor in before.tensors.items():
        torch.testing.assert_close(
            after.tensors[name].float(), tensor, rtol=1e-3 if half else 0, atol=1e-6 if half else 0
        )
        assert after.tensors[name].dtype == (torch.float16 if half else torch.float32)
    assert all(parameter.dtype == torch.float32 for parameter in after.network().parameters())
    assert [p.name for p in path.parent.iterdir()] == ["all.safetensors"]


def test_weight_beyond_float16_is_not_stored_as_half(tmp_path):
    big = checkpoint()
    next(iter(big.tensors.values()))[0] = 1e6
    with pytest.raises(UserError, match="not finite"):
        write_checkpoint(big, tmp_path / "big.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_missing_and_extra_tensors_are_named(written):
    path, tensors = written
    del tensors["bottleneck.conv1.conv.weight"]
    tensors["surplus"] = torch.zeros(1)
    message = refused(respelled(path, tensors))
    assert message == (
        "35 tensors, expected the 35 of 'dynunet' (missing: bottleneck.conv1.conv.weight; unexpected: surplus)"
    )


def test_tensor_of_the_wrong_shape_is_named(written):
    path, tensors = written
    tensors["input_block.conv1.conv.weight"] = torch.zeros(2, 3, 3, 3, 3)
    message = refused(respelled(path, tensors))
    assert (
        message == "tensor input_block.conv1.conv.weight has shape (2, 3, 3, 3, 3), 'dynunet' expects (2, 1, 3, 3, 3)"
    )


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (torch.full((2, 1, 3, 3, 3), float("nan")), "holds values that are not finite numbers"),
        (torch.full((2, 1, 3, 3, 3), float("-inf")), "holds values that are not finite numbers"),
        (torch.zeros((2, 1, 3, 3, 3), dtype=torch.int32), "is int32, expected dense weights in 16, 32 or 64 bits"),
        (torch.zeros((2, 1, 3, 3, 3), dtype=torch.float8_e4m3fn), "is float8_e4m3fn, expected dense weights in 16, 32"),
    ],
    ids=["nan", "infinite", "whole numbers", "8 bits"],
)
def test_tensor_that_holds_no_numbers_is_named(spoilt, words, written):
    path, tensors = written
    tensors["input_block.conv1.conv.weight"] = spoilt
    assert refused(respelled(path, tensors)).startswith(f"tensor input_block.conv1.conv.weight {words}")


@pytest.mark.parametrize(
    "spoilt",
    [torch.zeros((2, 1, 3, 3, 3)).to_sparse(), torch.zeros((2, 1, 3, 3, 3), device="meta")],
    ids=["sparse", "without storage"],
)
def test_tensor_that_torch_cannot_look_into_is_named(spoilt, tmp_path):
    state = monai_network(NARROW).state_dict()
    torch.save({"net": {**state, "input_block.conv1.conv.weight": spoilt}}, tmp_path / "0.pt")
    assert "tensor input_block.conv1.conv.weight is float32, expected dense weights" in refused(tmp_path / "0.pt")


def test_authors_file_with_a_missing_tensor_is_refused(tmp_path):
    state = monai_network(NARROW).state_dict()
    torch.save({"net": {k: v for k, v in state.items() if "upsamples.0.transp_conv" not in k}}, tmp_path / "0.pt")
    assert "no residual DynUNet: tensor 'upsamples.0.transp_conv.conv.weight' is missing" in refused(tmp_path / "0.pt")


def test_authors_file_of_another_network_is_refused(tmp_path):
    torch.save({"net": {"encoder.weight": torch.zeros(3)}}, tmp_path / "0.pt")
    assert "no residual DynUNet" in refused(tmp_path / "0.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, "found the keys epoch, expected the key 'net'"),
        ({}, "found an empty dict, expected the key 'net'"),
        ({"net": {}}, "found the keys net, expected the key 'net' with a network's tensors"),
        ([1, 2], "found list, expected the key 'net'"),
        (torch.zeros(3), "found Tensor, expected the key 'net'"),
    ],
)
def test_authors_file_without_a_network_is_refused(content, words, tmp_path):
    torch.save(content, tmp_path / "0.pt")
    assert words in refused(tmp_path / "0.pt")


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_does_not_run(save, tmp_path):
    save({"net": Attack(tmp_path / "ran")}, tmp_path / "0.pt")
    assert "could run code" in refused(tmp_path / "0.pt")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran")))  # it would have
    assert (tmp_path / "ran").exists()


def test_whole_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "0.pt")
    assert "holds more than tensors" in refused(tmp_path / "0.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_are_no_checkpoints_are_refused(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    assert refused(path) == "no such file"
    for content in (b"", b"hello", b"\x00" * 200, b"PK\x03\x04 and so on", b"\xff" * 64):
        path.write_bytes(content)
        assert "not a readable" in refused(path) or "could run code" in refused(path)


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02.",  # ends with nothing on the stack: IndexError in the unpickler
        b"\x80\x02J\x01.",  # an integer of four bytes that has two: struct.error
        b"\x80\x02h\x05.",  # something remembered that never was: KeyError
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a type of storage called like a function: TypeError
    ],
)
def test_damaged_pickle_is_refused_however_it_breaks(pickled, tmp_path):
    (tmp_path / "0.pt").write_bytes(pickled)
    assert refused(tmp_path / "0.pt") == "not a readable PyTorch file; is it complete?"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_checkpoint_is_refused(suffix, kept, tmp_path):
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        torch.save({"net": monai_network(NARROW).state_dict()}, path)
    else:
        write_checkpoint(checkpoint(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "not a readable" in refused(path)


def test_unknown_endings_are_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert refused(tmp_path / "weights.bin") == "unknown kind of weights, expected .safetensors or .pt"
    with pytest.raises(UserError, match=r"expected a name that ends in \.safetensors"):
        write_checkpoint(checkpoint(), tmp_path / "weights.pt")


def test_safetensors_of_another_program_is_refused(written):
    path, tensors = written
    save_file(tensors, path, {"format": "pt"})
    assert "the header has no 'swfastedit' entry" in refused(path)


def edited(**changes):
    """Return the header of narrow weights with some entries replaced; None removes one."""
    plain = json.loads(to_header(CheckpointConfig(NARROW)))
    for dotted, value in changes.items():
        inner, keys = plain, dotted.split("__")
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        if value is None:
            del inner[keys[-1]]
    return json.dumps(plain)


WANTS_CT = {"network__in_channels": 2, "channels": ["pet", "ct"]}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "not a checkpoint's configuration"),
        ("[]", "not a checkpoint's configuration"),
        ("[" * 100_000, "not a checkpoint's configuration"),
        (edited(format=2), "weights of format 2, this version reads 1; update the program"),
        (edited(network=None), "not a checkpoint's configuration (KeyError: 'network')"),
        (edited(network__name="resnet"), "unknown network 'resnet', expected one of smalldynunet, dynunet"),
        (edited(network__filters=[2, 2]), "filters (2, 2) for 'dynunet', expected 6 positive numbers"),
        (edited(network__filters="many"), "not a checkpoint's configuration"),
        (edited(network__in_channels=0), "0 input channels"),
        (edited(network__in_channels=3), "do not fit a network of 3 channel(s)"),
        (edited(window=[128, 128, 100]), "window (128, 128, 100), expected multiples of (32, 32, 16)"),
        (edited(window=[32, 32, 16]), "one of them twice that at least"),
        (edited(window=[128, 128]), "not a checkpoint's configuration"),
        (edited(labels=["a", "b", "c"]), "do not fit a network"),
        (edited(preprocessing__spacing_mm=[0, 1, 1]), "expected numbers from 0.1 to 100.0"),
        (edited(preprocessing__spacing_mm=[1e9, 1, 1]), "expected numbers from 0.1 to 100.0"),
        (edited(preprocessing__spacing_mm="444"), "'444', expected a list of three numbers"),
        (edited(preprocessing__spacing_mm=[4, 4]), "[4, 4], expected a list of three numbers"),
        (edited(window=[4096, 4096, 4096]), "expected 268,435,456 voxels at most"),
        (edited(demonstration="no"), "demonstration 'no', expected bool"),
        (edited(training="x"), "training 'x', expected dict"),
        (edited(licence=5), "licence 5, expected str"),
        (edited(preprocessing__spacing_mm=[float("inf"), 1, 1]), "expected numbers from 0.1"),
        (edited(preprocessing__spacing_mm=[float("nan"), 1, 1]), "expected numbers from 0.1"),
        (edited(preprocessing__intensity={"kind": "magic"}), "not a checkpoint's configuration"),
        (edited(preprocessing__intensity={"kind": "range"}), "not a checkpoint's configuration"),
        (edited(preprocessing__intensity__lower=99.95), "intensity from 99.95 to 99.95, expected a lower and a higher"),
        (edited(preprocessing__intensity__upper=float("nan")), "intensity from 0.05 to nan, expected"),
        (edited(preprocessing__intensity__upper=100.5), "percentiles 0.05 and 100.5, expected numbers from 0 to 100"),
        (edited(network__filters=[2.5] * 6), "[2.5, 2.5, 2.5, 2.5, 2.5, 2.5], expected a list of int"),
        (edited(network__filters=[10**30] * 6), "expected numbers up to 65536"),
        (edited(network__in_channels=True), "[True, 2], expected a list of int"),
        (edited(window=[64.0] * 3), "[64.0, 64.0, 64.0], expected a list of int"),
        (edited(window=[float("inf")] * 3), "[inf, inf, inf], expected a list of int"),
        (edited(window=[2**17] * 3), "expected numbers up to 65536"),
        (edited(window=[-64, 64, 64]), "window (-64, 64, 64), expected multiples of"),
        (edited(channels=[1]), "[1], expected a list of str"),
        (
            edited(channels=["ct"]),
            "channels ('ct',), expected one of ('pet',), ('pet', 'ct'), ('pet', 'tumour guidance'",
        ),
        (edited(channels=["pet", "ct"], preprocessing__ct_hu=[-1000, 1000]), "do not fit a network of 1 channel(s)"),
        (edited(network__in_channels=2, channels=["ct", "pet"]), "channels ('ct', 'pet'), expected one of"),
        (edited(**WANTS_CT), "not a checkpoint's configuration (KeyError: 'ct_hu')"),
        (edited(**WANTS_CT, preprocessing__ct_hu=[-1000, 0, 1000]), "[-1000, 0, 1000], expected a list of two numbers"),
        (
            edited(**WANTS_CT, preprocessing__ct_hu=[240, -160]),
            "CT's HU from 240.0 to -160.0, expected a lower and a higher",
        ),
        (
            edited(**WANTS_CT, preprocessing__ct_hu=[0, float("inf")]),
            "CT's HU from 0.0 to inf, expected a lower and a higher",
        ),
        (edited(labels="ab"), "'ab', expected a list of str"),
        (edited(surprise=1), "not a checkpoint's configuration"),
    ],
)
def test_malformed_headers_are_refused(header, words, written):
    path, tensors = written
    assert words in refused(respelled(path, tensors, header))


def test_header_is_json_that_reads_back():
    assert from_header(to_header(EVERYTHING), "x") == EVERYTHING
    assert json.loads(to_header(EVERYTHING))["preprocessing"]["intensity"] == {
        "kind": "range",
        "lower_suv": 0.5,
        "upper_suv": 20.0,
    }


def test_range_of_the_ct_stands_in_the_header_where_ct_is_a_channel():
    assert from_header(to_header(WITH_CT), "x") == WITH_CT
    assert json.loads(to_header(WITH_CT))["preprocessing"]["ct_hu"] == [-160.0, 240.0]
    assert "ct_hu" not in to_header(EVERYTHING)


def test_header_of_before_ct_was_known_reads_as_it_did():
    header = (
        '{"format": 1, "network": {"name": "dynunet", "filters": [2, 3, 4, 5, 6, 7], "in_channels": 1, '
        '"out_channels": 2}, "preprocessing": {"spacing_mm": [4.0, 4.0, 4.0], "intensity": {"kind": "range", '
        '"lower_suv": 0.0, "upper_suv": 20.0}}, "window": [96, 64, 96], "channels": ["pet"], "labels": ["background", '
        '"tumour"], "training": {}, "licence": "CC0", "attribution": "", "demonstration": false}'
    )
    preprocessing = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 20.0), ct_hu=(-1000.0, 1000.0))
    expected = CheckpointConfig(NARROW, preprocessing, window=(96, 64, 96), licence="CC0")
    assert from_header(header, "x") == expected
    assert to_header(expected) == header


def test_weights_are_found_in_files_and_folders(tmp_path):
    for name in ("b.safetensors", "a.safetensors", ".hidden.safetensors"):
        write_checkpoint(checkpoint(), tmp_path / name)
    torch.save({"net": monai_network(NARROW).state_dict()}, tmp_path / "c.pt")
    (tmp_path / "a.pt").write_bytes(b"the same weights before conversion")
    (tmp_path / "README.md").touch()
    assert [p.name for p in find_checkpoints([tmp_path])] == ["a.safetensors", "b.safetensors", "c.pt"]
    assert find_checkpoints([tmp_path / "a.pt"]) == [tmp_path / "a.pt"]


def test_demonstration_steps_aside_for_other_weights(tmp_path):
    demonstration = CheckpointConfig(NARROW, demonstration=True)
    write_checkpoint(checkpoint(demonstration), tmp_path / "demo.safetensors")
    assert [p.name for p in find_checkpoints([tmp_path])] == ["demo.safetensors"]
    write_checkpoint(checkpoint(), tmp_path / "mine.safetensors")
    assert [p.name for p in find_checkpoints([tmp_path])] == ["mine.safetensors"]


def test_folder_of_a_run_is_no_ensemble(tmp_path):
    for name in ("best.safetensors", "last.safetensors"):
        write_checkpoint(checkpoint(), tmp_path / name)
    (tmp_path / "states").mkdir()
    with pytest.raises(UserError, match=r"is the folder of a training run; name one file in it, .*last\.safetensors"):
        find_checkpoints([tmp_path])
    assert find_checkpoints([tmp_path / "best.safetensors"]) == [tmp_path / "best.safetensors"]


def test_places_without_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        find_checkpoints([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="the folder holds no weights"):
        find_checkpoints([tmp_path])


@pytest.fixture
def run(capfd):
    """Return a function that runs the command in this process: arguments in, exit code and streams out."""

    def run(*arguments):
        capfd.readouterr()
        code = command.main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def test_command_converts_and_shows(tmp_path, run):
    torch.save({"net": monai_network(NARROW).state_dict()}, tmp_path / "0.pt")
    target = tmp_path / "new" / "mine.safetensors"
    done = run("convert", tmp_path / "0.pt", target, "--half", "--suv-range", 0, 43, "--licence", "CC0")
    assert (done.returncode, done.stderr) == (0, "")
    shown = run("show", target)
    assert shown.stdout == done.stdout
    about = json.loads(shown.stdout)
    assert about["parameters"] == sum(t.numel() for t in checkpoint().tensors.values())
    assert about["stored_as"] == ["float16"]
    assert about["preprocessing"]["intensity"] == {"kind": "range", "lower_suv": 0.0, "upper_suv": 43.0}
    assert about["licence"] == "CC0"
    assert about["network"]["filters"] == [2, 3, 4, 5, 6, 7]
    assert about["bytes"] == target.stat().st_size


def test_command_shows_the_channels_and_keeps_them(tmp_path, run):
    write_checkpoint(checkpoint(WITH_CT), tmp_path / "both.safetensors")
    done = run("convert", tmp_path / "both.safetensors", tmp_path / "new.safetensors", "--suv-range", 0, 43)
    assert (done.returncode, done.stderr) == (0, "")
    about = json.loads(run("show", tmp_path / "new.safetensors").stdout)
    assert about["channels"] == ["pet", "ct"]
    assert about["preprocessing"]["ct_hu"] == [-160.0, 240.0]
    assert about["preprocessing"]["intensity"] == {"kind": "range", "lower_suv": 0.0, "upper_suv": 43.0}


def test_command_fails_in_one_line_whatever_the_file_says(tmp_path, run):
    path = tmp_path / "weights.safetensors"
    save_file(checkpoint().tensors, path, {HEADER_KEY: edited(network__name="two\nlines")})
    done = run("convert", path, tmp_path / "new.safetensors")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: unknown network 'two lines', expected one of smalldynunet")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_command_names_a_missing_file(tmp_path):
    started = [sys.executable, "-m", "swfastedit_core.checkpoint", "show", str(tmp_path / "none.safetensors")]
    done = subprocess.run(started, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path / 'none.safetensors'}: no such file\n"
