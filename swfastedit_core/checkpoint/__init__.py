"""Self-describing weights: a .safetensors file whose header describes the network and its input.

`read_checkpoint` also reads the authors' ``.pt`` files. Only plain tensors are unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from swfastedit_core.checkpoint.authors import network_from_shapes, read_authors_tensors
from swfastedit_core.checkpoint.channels import Channels
from swfastedit_core.checkpoint.header import HEADER_KEY, CheckpointConfig, from_header, to_header
from swfastedit_core.errors import UserError
from swfastedit_core.model import DynUNet, build_network
from swfastedit_core.system.atomic import replacing

__all__ = [
    "STATES_OF_A_RUN",
    "Channels",
    "Checkpoint",
    "CheckpointConfig",
    "find_checkpoints",
    "read_checkpoint",
    "read_config",
    "write_checkpoint",
]

SUFFIXES = (".safetensors", ".pt")
STATES_OF_A_RUN = "states"  # folder of a training run, next to its weights
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
    """

    path: Path
    config: CheckpointConfig
    tensors: dict[str, Tensor]

    def network(self) -> DynUNet:
        """Build the network with these weights in float32, in evaluation mode."""
        with torch.device("meta"):
            network = build_network(self.config.network)
        network.load_state_dict({name: tensor.float() for name, tensor in self.tensors.items()}, assign=True)
        return network.eval()


def find_checkpoints(paths: Iterable[str | Path]) -> list[Path]:
    """List the checkpoint files among files and folders.

    In a folder, a ``.pt`` file is left out if a ``.safetensors`` file has the same stem: both hold the same weights.
    Demonstration weights are left out if the folder holds other weights.

    Raises
    ------
    UserError
        If a path does not exist, a folder holds no checkpoint, a folder belongs to a training run (its best and
        last weights are not an ensemble), or a file is named twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            what = "is not a file or folder" if path.exists() else "no such file or folder"
            raise UserError(f"{path}: {what}, expected weights (.safetensors or .pt)")
        files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file() and not p.name.startswith("."))
        files = [p for p in files if p.suffix == SUFFIXES[0] or p.with_suffix(SUFFIXES[0]) not in files]
        if not files:
            raise UserError(f"{path}: the folder holds no weights, expected .safetensors or .pt files")
        if (path / STATES_OF_A_RUN).is_dir():
            raise UserError(
                f"{path}: is the folder of a training run; name one file in it, such as {files[-1]}, or export the run"
            )
        found += [p for p in files if p.suffix == SUFFIXES[1] or not read_config(p).demonstration] or files
    for path in found:
        if sum(path.samefile(other) for other in found) > 1:
            raise UserError(f"{path}: these weights are named twice and would count twice in the ensemble")
    return found


def read_config(path: Path) -> CheckpointConfig:
    """Read the description of a checkpoint, without its weights if the format allows it.

    Raises
    ------
    UserError
        As `read_checkpoint`.
    """
    if path.suffix == SUFFIXES[1]:
        return read_checkpoint(path).config
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from error
    if HEADER_KEY not in header:
        raise UserError(
            f"{path}: the header has no '{HEADER_KEY}' entry, so this program did not write it; convert the original"
        )
    return from_header(header[HEADER_KEY], str(path))


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read weights of either format; check that they fit their network.

    For the authors' ``.pt`` files, the network is inferred from the shapes of the tensors. The preprocessing is the
    recipe's.

    Parameters
    ----------
    path
        A ``.safetensors`` file written by this program, or a ``.pt`` file of the authors.

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
    if not path.is_file():
        raise UserError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown kind of weights, expected {' or '.join(SUFFIXES)}")
    if path.suffix == SUFFIXES[1]:
        tensors = read_authors_tensors(path)
        try:
            config = CheckpointConfig.of_the_recipe(
                network_from_shapes({k: tuple(v.shape) for k, v in tensors.items()})
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    else:
        config = read_config(path)
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    _check_tensors(tensors, config, path)
    return Checkpoint(path, config, tensors)


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
    if path.suffix != SUFFIXES[0]:
        raise UserError(f"{path}: expected a name that ends in {SUFFIXES[0]}")
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
