from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai_networks import NARROW, monai_network
from safetensors.torch import load_file, save_file

from swfastedit_core.checkpoint import (
    Channels,
    Checkpoint,
    CheckpointConfig,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from swfastedit_core.checkpoint.header import HEADER_KEY, from_header, to_header
from swfastedit_core.click_encodings import DiscEncoding, GaussianEncoding, GradedBallEncoding
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing

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
WITH_CLICKS = [
    replace(
        EVERYTHING,
        network=NetworkConfig("smalldynunet", (3, 4, 5), in_channels=channels.count),
        channels=channels,
        clicks=clicks,
    )
    for channels, clicks in (
        (Channels.PET_CLICKS, DiscEncoding(1.5)),
        (Channels.PET_CLICKS, GaussianEncoding()),
        (Channels.PET_CT_CLICKS, GradedBallEncoding(3)),
    )
]


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


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "config",
    [EVERYTHING, WITH_CT, *WITH_CLICKS],
    ids=["pet", "pet and ct", "discs", "gaussians", "ct and graded balls"],
)
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


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_are_no_checkpoints_are_refused(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    assert refused(path) == "no such file"
    for content in (b"", b"hello", b"\x00" * 200, b"PK and so on", b"\xff" * 64):
        path.write_bytes(content)
        words = "the file is empty; copy or download it again" if not content else "not a readable"
        assert words in refused(path) or "could run code" in refused(path)


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
    assert refused(tmp_path / "weights.bin") == "unknown kind of weights, expected .safetensors, .pt, .pth or .ckpt"
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


DISC = {"kind": "disc", "sigma": 1.0}
WANTS_CLICKS = {"network__in_channels": 3, "channels": ["pet", "tumour guidance", "background guidance"]}
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
        (edited(clicks=DISC), "channels ('pet',) with clicks {'kind': 'disc', 'sigma': 1.0}, expected no clicks"),
        (edited(**WANTS_CLICKS), "not a checkpoint's configuration (KeyError: 'clicks')"),
        (edited(**WANTS_CLICKS, clicks="disc"), "not a checkpoint's configuration"),
        (edited(**WANTS_CLICKS, clicks={"sigma": 1.0}), "not a checkpoint's configuration (KeyError: 'kind')"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "kind": "box"}), "not a checkpoint's configuration (KeyError: 'box')"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "kind": []}), "not a checkpoint's configuration"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "radius": 2}), "not a checkpoint's configuration"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "sigma": "1"}), "sigma '1' of clicks, expected a number"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "sigma": True}), "sigma True of clicks, expected a number"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "sigma": 0}), "sigma 0 of a click, expected more than 0"),
        (edited(**WANTS_CLICKS, clicks={**DISC, "sigma": float("nan")}), "sigma nan of a click, expected more than 0"),
        (edited(**WANTS_CLICKS, clicks={"kind": "gaussian", "sigma": 10**400}), "sigma 1000"),
        (
            edited(**WANTS_CLICKS, clicks={"kind": "graded-ball", "radius": 1.5}),
            "radius 1.5 of a click, expected a whole number from 0 to 16 voxels",
        ),
        (
            edited(network__in_channels=3, channels=["pet", "background guidance", "tumour guidance"], clicks=DISC),
            "channels ('pet', 'background guidance', 'tumour guidance'), expected one of",
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


def test_painting_of_clicks_stands_in_the_header_where_there_are_guidance_channels():
    discs, gaussians, balls = (json.loads(to_header(config)) for config in WITH_CLICKS)
    assert discs["channels"] == ["pet", "tumour guidance", "background guidance"]
    assert discs["clicks"] == {"kind": "disc", "sigma": 1.5}
    assert gaussians["clicks"] == {"kind": "gaussian", "sigma": 3.0}
    assert balls["channels"] == ["pet", "ct", "tumour guidance", "background guidance"]
    assert balls["clicks"] == {"kind": "graded-ball", "radius": 3}
    assert balls["preprocessing"]["ct_hu"] == [-1000.0, 1000.0]
    assert "clicks" not in json.loads(to_header(EVERYTHING))


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
