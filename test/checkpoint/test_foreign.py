"""Checkpoints of other programs: which network is taken, and what is said about it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from monai_networks import NARROW, monai_network, own_state

from swfastedit_core.checkpoint import Channels, CheckpointConfig, read_checkpoint, read_config
from swfastedit_core.click_encodings import DiscEncoding
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity
from swfastedit_core.model import ARCHITECTURES, NetworkConfig
from swfastedit_core.preprocess import Preprocessing

ASSUMED = (
    "no description in the file, the recipe's preprocessing is assumed (spacing 2.036 × 2.036 × 3 mm, percentiles 0.05 "
    "and 99.95 of the image, window 128 × 128 × 128 voxels); if the weights need another, describe it with "
    "python -m swfastedit_core.checkpoint convert"
)


def refused(path, key=None):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path, key=key)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def prefixed(state, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def assert_holds(checkpoint, network):
    """Check that a checkpoint holds the weights of one of MONAI's networks, and no other tensors."""
    expected = own_state(network)
    assert checkpoint.tensors.keys() == expected.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in expected.items())


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


def test_interactive_weights_of_the_authors_have_three_channels_and_discs(tmp_path):
    monai = monai_network(replace(NARROW, in_channels=3))
    torch.save({"net": monai.state_dict()}, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    assert found.config.channels == Channels.PET_CLICKS
    assert found.config.clicks == DiscEncoding(1.0)
    assert found.config.preprocessing.intensity == PercentileIntensity(0.05, 99.95)
    assert found.notices == (ASSUMED.replace("128 voxels)", "128 voxels, clicks as disc of sigma 1 voxels)"),)
    image = torch.randn(1, 3, 64, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(found.network()(image), monai(image))


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channel_counts_are_refused(channels, tmp_path):
    torch.save({"net": monai_network(replace(NARROW, in_channels=channels)).state_dict()}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt") == (
        f"{channels} input channels, expected 1 (PET) or 3 (PET, tumour guidance, background guidance); shapes do not "
        "tell which channel is a CT and how HU are scaled, so with a CT this program reads only its own .safetensors "
        "files"
    )


@pytest.mark.parametrize("new_format", [True, False])
def test_description_is_read_without_the_weights(new_format, tmp_path):
    path = tmp_path / "0.pt"
    state = monai_network(replace(NARROW, in_channels=3)).state_dict()
    torch.save({"net": state, "epoch": 3}, path, _use_new_zipfile_serialization=new_format)
    assert read_config(path) == read_checkpoint(path).config
    with pytest.raises(UserError, match="no such file"):
        read_config(tmp_path / "1.pt")


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


def test_file_of_another_network_is_refused(tmp_path):
    torch.save({"net": {"encoder.weight": torch.zeros(3)}}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt") == (
        "found the keys net, expected the tensors of a residual DynUNet, such as {'net': model.state_dict()}"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, "found the keys epoch, expected the tensors of a residual DynUNet"),
        ({}, "found an empty dict, expected the tensors"),
        ({"net": {}}, "found the keys net, expected the tensors"),
        ([1, 2], "found list, expected the tensors"),
        (torch.zeros(3), "found Tensor, expected the tensors"),
        ({str(i): i for i in range(9)}, "found the keys 0, 1, 2, 3, 4 and 4 more, expected the tensors"),
    ],
)
def test_file_without_a_network_is_refused(content, words, tmp_path):
    torch.save(content, tmp_path / "0.pt")
    assert words in refused(tmp_path / "0.pt")


KEYS = ("net", "model", "state_dict", "model_state_dict", "ema", "network_weights", "anything")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("key", KEYS)
def test_network_is_found_under_any_key(key, suffix, tmp_path):
    network = monai_network()
    path = tmp_path / f"0{suffix}"
    torch.save({"epoch": 3, key: network.state_dict(), "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, path)
    found = read_checkpoint(path)
    assert_holds(found, network)
    assert found.config.network == NARROW
    assert found.notices == (ASSUMED,)


def test_network_is_found_without_a_key_and_at_any_depth(tmp_path):
    network = monai_network()
    torch.save(network.state_dict(), tmp_path / "bare.pt")
    torch.save({"a": {"b": {"c": network.state_dict()}}}, tmp_path / "deep.pt")
    for name in ("bare.pt", "deep.pt"):
        assert_holds(read_checkpoint(tmp_path / name), network)


def test_dict_that_contains_itself_ends(tmp_path):
    content = {"net": monai_network().state_dict()}
    content["self"] = content
    torch.save(content, tmp_path / "0.pt")
    assert_holds(read_checkpoint(tmp_path / "0.pt"), monai_network())


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "network.", "net.", "model.", "model._orig_mod.", "module._orig_mod.net."]
)
def test_common_prefix_is_stripped(prefix, tmp_path):
    network = monai_network()
    torch.save({"model": prefixed(network.state_dict(), prefix)}, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    assert_holds(found, network)
    assert found.notices == (ASSUMED,)


def test_names_that_pytorch_itself_gives_are_understood(tmp_path):
    network = monai_network()
    torch.save(torch.nn.DataParallel(network).state_dict(), tmp_path / "parallel.pt")
    torch.save(torch.compile(network).state_dict(), tmp_path / "compiled.pt")
    average = torch.optim.swa_utils.AveragedModel(network)
    torch.save(average.state_dict(), tmp_path / "average.pt")
    for name, remarks in (
        ("parallel.pt", ()),
        ("compiled.pt", ()),
        ("average.pt", ("1 tensor(s) outside the network left out: n_averaged",)),
    ):
        found = read_checkpoint(tmp_path / name)
        assert_holds(found, network)
        assert found.remarks == remarks


def test_parameters_are_read_as_plain_tensors(tmp_path):
    network = monai_network()
    torch.save({"net": dict(network.named_parameters())}, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    assert_holds(found, network)
    assert not any(tensor.requires_grad for tensor in found.tensors.values())


def test_checkpoint_of_lightning_is_read(tmp_path):
    network = monai_network()
    state = prefixed(network.state_dict(), "model._orig_mod.")
    state["loss.class_weight"] = torch.ones(2)
    content = {
        "epoch": 12, "global_step": 3000, "pytorch-lightning_version": "2.6.0", "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'dice'}": {"best_model_score": torch.tensor(0.7)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"lr": 1e-3},
    }  # fmt: skip
    torch.save(content, tmp_path / "epoch=12-dice=0.7.ckpt")
    found = read_checkpoint(tmp_path / "epoch=12-dice=0.7.ckpt")
    assert_holds(found, network)
    assert found.remarks == ("1 tensor(s) outside the network left out: loss.class_weight",)


def test_choice_of_several_networks_is_the_users(tmp_path):
    model, average = monai_network(seed=1), monai_network(seed=2)
    path = tmp_path / "my net.pt"
    torch.save({"model": model.state_dict(), "ema": {"shadow": prefixed(average.state_dict(), "module.")}}, path)
    assert refused(path) == (
        "holds 2 networks (model, ema.shadow); choose one: python -m swfastedit_core.checkpoint convert "
        f"'{path}' NEW.safetensors --key NAME"
    )
    assert_holds(read_checkpoint(path, key="model"), model)
    assert_holds(read_checkpoint(path, key="ema.shadow"), average)
    assert refused(path, key="ema") == "--key ema, expected one of model, ema.shadow"


def test_one_network_under_two_keys_is_no_choice(tmp_path):
    state = monai_network().state_dict()
    torch.save({"model": state, "state_dict": state}, tmp_path / "0.pt")
    assert_holds(read_checkpoint(tmp_path / "0.pt"), monai_network())


def test_two_networks_in_one_dict_are_named_by_their_prefix(tmp_path):
    student, teacher = monai_network(seed=1), monai_network(seed=2)
    path = tmp_path / "0.ckpt"
    state = prefixed(student.state_dict(), "model.") | prefixed(teacher.state_dict(), "model.ema.")
    torch.save({"state_dict": state}, path)
    assert "holds 2 networks (state_dict.model, state_dict.model.ema)" in refused(path)
    assert_holds(read_checkpoint(path, key="state_dict.model"), student)
    assert_holds(read_checkpoint(path, key="state_dict.model.ema"), teacher)
    torch.save(student.state_dict() | {"ema": teacher.state_dict()}, path)
    assert "holds 2 networks (., ema)" in refused(path)
    assert_holds(read_checkpoint(path, key="."), student)


def test_only_network_that_fits_is_taken(tmp_path):
    network = monai_network()
    plain = monai_network(seed=2, res_block=False)
    torch.save({"teacher": plain.state_dict(), "student": network.state_dict()}, tmp_path / "0.pt")
    assert_holds(read_checkpoint(tmp_path / "0.pt"), network)
    assert "without residual blocks" in refused(tmp_path / "0.pt", key="teacher")


def test_heads_of_deep_supervision_are_left_out(tmp_path):
    network = monai_network(deep_supervision=True, deep_supr_num=2)
    assert len([name for name in network.state_dict() if name.startswith("deep_supervision_heads.")]) == 4
    torch.save({"net": prefixed(network.state_dict(), "module.")}, tmp_path / "0.pt")
    found = read_checkpoint(tmp_path / "0.pt")
    assert_holds(found, network)
    assert found.remarks == ("2 head(s) of deep supervision left out: only training needs them",)
    assert found.notices == (*found.remarks, ASSUMED)
    image = torch.randn(1, 1, 64, 64, 32)
    with torch.inference_mode():
        assert torch.equal(found.network()(image), network(image))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"res_block": False}, "a DynUNet without residual blocks, expected one that was built with res_block=True"),
        ({"norm_name": ("instance", {"affine": True})}, "a DynUNet with trained norm layers (affine instance norm or"),
        ({"norm_name": "batch"}, "a DynUNet with trained norm layers"),
    ],
)
def test_other_dynunets_are_refused(changes, words, tmp_path):
    torch.save({"net": monai_network(**changes).state_dict()}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt").startswith(words)


def test_refusal_of_another_topology_names_the_known_ones(tmp_path):
    """Six levels whose deepest stride is 2 along all axes, as nnU-Net plans them."""
    state = own_state(monai_network())
    name = "upsamples.0.transp_conv.conv.weight"
    state[name] = torch.zeros(*state[name].shape[:2], 2, 2, 2)
    torch.save(state, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt") == (
        "a DynUNet of 6 levels with a deepest stride of (2, 2, 2), which this program does not build; it knows "
        "'smalldynunet' 3 and (2, 2, 1); 'dynunet' 6 and (2, 2, 1); 'bigdynunet' 7 and (2, 2, 1); 'hugedynunet' 7 and "
        "(2, 2, 2)"
    )
