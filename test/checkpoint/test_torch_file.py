"""Files of `torch.save` that are opened, and files that are not."""

from __future__ import annotations

import argparse
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai_networks import NARROW, monai_network, own_state
from safetensors.torch import save_file

from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.checkpoint.torch_file import load_torch_file
from swfastedit_core.errors import UserError

SAVE_AGAIN = "save its weights alone, where its classes are installed: torch.save({'net': model.state_dict()}, FILE)"
NNUNET = (
    "is an nnU-Net checkpoint, whose network this program does not have; segment with nnUNetv2_predict, or train a "
    "network with python -m swfastedit_core.train on the same data (--data images:FOLDER)"
)


def refused(path):
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


SCALARS = [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True), np.float64("nan")]


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numpy_scalars_beside_the_weights_do_no_harm(module, tmp_path):
    network, path = monai_network(), tmp_path / "0.pt"
    content = {"net": network.state_dict(), "best": SCALARS[0], "history": {"dice": SCALARS}}
    torch.save(content, path, _use_new_zipfile_serialization=False)  # legacy: its pickle is not compressed
    written = path.read_bytes()
    assert b"numpy._core.multiarray" in written
    path.write_bytes(written.replace(b"numpy._core.multiarray", module))
    found = read_checkpoint(path)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in own_state(network).items())
    assert load_torch_file(path)["history"] == {"dice": [None] * 5}
    torch.save(content, path)
    assert load_torch_file(path)["best"] is None


def test_arrays_and_other_objects_of_numpy_stay_out(tmp_path):
    torch.save({"net": monai_network().state_dict(), "history": np.zeros(3)}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt").startswith("holds more than tensors (numpy._core.multiarray._reconstruct)")
    torch.save({"net": monai_network().state_dict(), "random": np.random.default_rng(0)}, tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt").startswith("holds more than tensors (numpy.")


def test_allowed_names_do_not_outlive_the_call(tmp_path):
    torch.save({"best": np.float64(0.5)}, tmp_path / "0.pt")
    before = torch.serialization.get_safe_globals()  # MONAI adds its own when it is imported
    load_torch_file(tmp_path / "0.pt")
    assert set(torch.serialization.get_safe_globals()) == set(before)
    assert not [name for name in before if "numpy" in str(name)]


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


class ScalarOf:
    """Is pickled as a numpy scalar of something else."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        make_scalar, _ = np.float64(1.0).__reduce__()
        return make_scalar, (np.dtype("O"), self.content)


@pytest.mark.parametrize("place", ["beside", "inside", "for a scalar"])
def test_code_in_a_file_with_good_weights_does_not_run(place, tmp_path):
    attack, state = Attack(tmp_path / "ran"), monai_network().state_dict()
    contents = {
        "beside": {"net": state, "x": attack},
        "inside": {"net": {**state, "x": attack}},
        "for a scalar": {"net": state, "x": ScalarOf(attack)},
    }
    torch.save(contents[place], tmp_path / "0.pt")
    message = refused(tmp_path / "0.pt")
    assert message.startswith("holds more than tensors (getattr)")
    assert "could run code" in message
    assert not (tmp_path / "ran").exists()


def test_hyperparameters_of_other_classes_are_named(tmp_path):
    state = monai_network().state_dict()
    torch.save({"state_dict": state, "hyper_parameters": argparse.Namespace(lr=1e-3)}, tmp_path / "0.ckpt")
    assert refused(tmp_path / "0.ckpt") == (
        f"holds more than tensors (argparse.Namespace); it is not opened, because that could run code; {SAVE_AGAIN}"
    )


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module, "epoch": 3}])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("make", [monai_network, lambda: torch.nn.Linear(2, 2)])
def test_whole_pickled_module_is_refused(make, zipped, wrap, tmp_path):
    torch.save(wrap(make()), tmp_path / "0.pt", _use_new_zipfile_serialization=zipped)
    assert refused(tmp_path / "0.pt") == (
        f"holds a whole pickled module; it is not opened, because that could run code; {SAVE_AGAIN}"
    )


def test_pickle_protocol_that_torch_does_not_read_is_named(tmp_path):
    torch.save({"net": monai_network().state_dict()}, tmp_path / "0.pt", pickle_protocol=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert refused(tmp_path / "0.pt") == (
            f"was written with pickle protocol 4; it is not opened, because that could run code; {SAVE_AGAIN}"
        )
    assert caught == []


def test_torchscript_is_refused(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "0.pt"))
    assert refused(tmp_path / "0.pt") == f"is a TorchScript archive, which holds a program; {SAVE_AGAIN}"


@pytest.mark.parametrize(
    "more",
    [{}, {"logging": {"ema_fg_dice": [np.float64(0.5)]}}, {"init_args": {"folder": Path("x")}}],
    ids=["plain", "numpy scalars", "other objects"],
)
def test_nnunet_is_refused(more, tmp_path):
    content = {
        "network_weights": {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(3)},
        "optimizer_state": {}, "current_epoch": 1000, "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2), **more,
    }  # fmt: skip
    torch.save(content, tmp_path / "checkpoint_final.pth")
    assert refused(tmp_path / "checkpoint_final.pth") == NNUNET


def test_nnunet_of_version_1_is_refused(tmp_path):
    content = {"epoch": 1000, "state_dict": {"conv_blocks_context.0.weight": torch.zeros(3)}, "plot_stuff": ([], [])}
    torch.save(content, tmp_path / "model_final_checkpoint.pth")
    assert refused(tmp_path / "model_final_checkpoint.pth") == NNUNET


def test_dynunet_of_an_nnunet_trainer_is_taken(tmp_path):
    content = {"network_weights": monai_network().state_dict(), "trainer_name": "nnUNetTrainerDynUNet"}
    torch.save(content, tmp_path / "checkpoint_final.pth")
    assert read_checkpoint(tmp_path / "checkpoint_final.pth").config.network == NARROW


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty; copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a Git LFS pointer, not the file"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, perhaps the answer of a server that"),
    ],
    ids=["empty", "pointer", "web page"],
)
def test_files_that_a_download_leaves_are_named(content, words, suffix, tmp_path):
    path = tmp_path / f"0{suffix}"
    path.write_bytes(content)
    assert refused(path).startswith(words)


def test_swapped_endings_are_named(tmp_path):
    save_file(own_state(monai_network()), tmp_path / "0.pt")
    assert refused(tmp_path / "0.pt") == "is a .safetensors file by its first bytes; give its name that ending"
    torch.save({"net": monai_network().state_dict()}, tmp_path / "0.safetensors")
    assert refused(tmp_path / "0.safetensors") == "is a PyTorch file by its first bytes; give its name the ending .pt"


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
