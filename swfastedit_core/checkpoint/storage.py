"""Read and write weights: a .safetensors file whose header describes the network and its input.

`read_checkpoint` also reads files of `torch.save`. Only plain tensors are unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from swfastedit_core.checkpoint.foreign import read_foreign
from swfastedit_core.checkpoint.header import HEADER_KEY, CheckpointConfig, describe_input, from_header, to_header
from swfastedit_core.checkpoint.kinds import ENDINGS, OWN_SUFFIX, SUFFIXES, wrong_weights
from swfastedit_core.errors import UserError
from swfastedit_core.model import DynUNet, build_network
from swfastedit_core.system.atomic import replacing

SHOWN = 3  # number of tensors that a message names
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and their description.

    Attributes
    ----------
    path
        File of the weights.
    config
        Network, preprocessing, window, channels, labels, provenance.
    tensors
        The network's state dict, on the CPU, names as in MONAI's DynUNet.
    described
        Whether the file holds a description. If not, preprocessing and window are those of the recipe.
    remarks
        What was left out of the file, as sentences for the user.
    """

    path: Path
    config: CheckpointConfig
    tensors: dict[str, Tensor]
    described: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """The remarks, and what is assumed if there is no description."""
        if self.described:
            return self.remarks
        assumed = ", ".join(describe_input(self.config).values())
        return (
            *self.remarks,
            f"no description in the file, the recipe's preprocessing is assumed ({assumed}); "
            "if the weights need another, describe it with python -m swfastedit_core.checkpoint convert",
        )

    def network(self) -> DynUNet:
        """Build the network with these weights in float32, in evaluation mode."""
        with torch.device("meta"):
            network = build_network(self.config.network)
        network.load_state_dict({name: tensor.float() for name, tensor in self.tensors.items()}, assign=True)
        return network.eval()


def read_config(path: Path) -> CheckpointConfig:
    """Read the description of a checkpoint without its weights.

    For files of `torch.save` the shapes of the tensors are read, and the description is the recipe's.

    Raises
    ------
    UserError
        As `read_checkpoint`, but the weights are not checked.
    """
    _require_file(path)
    if path.suffix != OWN_SUFFIX:
        return _read_foreign(path, device="meta").config
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        kind = wrong_weights(path) or f"not a readable {OWN_SUFFIX} file ({error})"
        raise UserError(f"{path}: {kind}") from error
    if HEADER_KEY not in header:
        raise UserError(
            f"{path}: the header has no '{HEADER_KEY}' entry, so this program did not write it; convert the original"
        )
    return from_header(header[HEADER_KEY], str(path))


def read_checkpoint(path: str | Path, *, key: str | None = None) -> Checkpoint:
    """Read weights of any format; check that they fit their network.

    For files of `torch.save`, the network is inferred from the shapes of the tensors. The preprocessing is the
    recipe's.

    Parameters
    ----------
    path
        A ``.safetensors`` file written by this program, or a file of `torch.save` with a residual DynUNet: the
        authors', Lightning's, one's own.
    key
        Name of the network in a file of `torch.save` that holds several.

    Returns
    -------
    Checkpoint
        With every tensor of the network, finite, in the stored precision.

    Raises
    ------
    UserError
        If the file is not a checkpoint or is damaged, or its tensors do not fit its network.
    """
    path = Path(path)
    _require_file(path)
    checkpoint = _read_own(path, key) if path.suffix == OWN_SUFFIX else _read_foreign(path, key)
    _check_tensors(checkpoint.tensors, checkpoint.config, path)
    return checkpoint


def _require_file(path: Path) -> None:
    if path.is_dir():
        names = ", ".join(sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)) or "none"
        raise UserError(f"{path}: is a folder, expected one file of weights; name a file in it (found: {names})")
    if not path.is_file():
        raise UserError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown kind of weights, expected {ENDINGS}")


def _read_own(path: Path, key: str | None) -> Checkpoint:
    if key is not None:
        raise UserError(f"{path}: --key {key} is for .pt, .pth and .ckpt files; a {OWN_SUFFIX} file holds one network")
    config = read_config(path)
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return Checkpoint(path, config, tensors)


def _read_foreign(path: Path, key: str | None = None, *, device: str = "cpu") -> Checkpoint:
    network = read_foreign(path, key=key, device=device)
    try:
        config = CheckpointConfig.of_the_recipe(network.config())
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Checkpoint(path, config, network.tensors, described=False, remarks=network.remarks)


def write_checkpoint(checkpoint: Checkpoint, path: str | Path, *, half: bool = False) -> None:
    """Write weights in this program's format. An existing file is replaced when the new one is complete.

    Parameters
    ----------
    checkpoint
        Weights and configuration.
    path
        Target, ending in ``.safetensors``.
    half
        Store float16: half the size.

    Raises
    ------
    UserError
        If the path has another ending, a weight does not fit float16, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != OWN_SUFFIX:
        raise UserError(f"{path}: expected a name that ends in {OWN_SUFFIX}")
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in checkpoint.tensors.items()}
    _check_tensors(tensors, checkpoint.config, path)
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {HEADER_KEY: to_header(checkpoint.config)})
            temporary.chmod(0o644)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({error})") from error


def _check_tensors(tensors: dict[str, Tensor], config: CheckpointConfig, path: Path) -> None:
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in build_network(config.network).state_dict().items()}
    name = config.network.name
    missing = [n for n in expected if n not in tensors]
    extra = [n for n in tensors if n not in expected]
    if missing or extra:
        named = "; ".join(f"{what}: {_some(n)}" for what, n in (("missing", missing), ("unexpected", extra)) if n)
        raise UserError(f"{path}: {len(tensors)} tensors, expected the {len(expected)} of '{name}' ({named})")
    for tensor_name, shape in expected.items():
        found = tensors[tensor_name]
        if tuple(found.shape) != shape:
            raise UserError(f"{path}: tensor {tensor_name} has shape {tuple(found.shape)}, '{name}' expects {shape}")
        if found.dtype not in NUMBERS or found.layout is not torch.strided or found.is_meta:
            kind = f"{found.dtype}".removeprefix("torch.")
            raise UserError(f"{path}: tensor {tensor_name} is {kind}, expected dense weights in 16, 32 or 64 bits")
        if not torch.isfinite(found).all():
            raise UserError(f"{path}: tensor {tensor_name} holds values that are not finite numbers")


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
