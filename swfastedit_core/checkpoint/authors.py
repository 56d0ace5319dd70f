"""The authors' weights: a file of `torch.save` with a dict; its key ``net`` holds the state dict of a MONAI DynUNet."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from swfastedit_core.errors import UserError
from swfastedit_core.model import ARCHITECTURES, NetworkConfig

NETWORK_KEY = "net"
ALIAS = "skip_layers."  # MONAI registers every block twice; these are the second names


def read_authors_tensors(path: Path) -> dict[str, Tensor]:
    """Read the network's tensors from a ``.pt`` file. No code in the file is run.

    Raises
    ------
    UserError
        If the file does not hold such a dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is damaged, or holds more than tensors; it is not opened, because that could run code; "
            f"expected a dict with the key '{NETWORK_KEY}'"
        ) from error
    except Exception as error:  # the unpickler raises nearly any type on a damaged file
        raise UserError(f"{path}: not a readable PyTorch file; is it complete?") from error
    state = content.get(NETWORK_KEY, content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = type(content).__name__
        if isinstance(content, dict):
            found = f"the keys {', '.join(map(str, list(content)[:5]))}" if content else "an empty dict"
        raise UserError(f"{path}: found {found}, expected the key '{NETWORK_KEY}' with a network's tensors")
    return {str(name): tensor for name, tensor in state.items() if not str(name).startswith(ALIAS)}


def network_from_shapes(shapes: Mapping[str, Sequence[int]]) -> NetworkConfig:
    """Infer the network of a state dict.

    Parameters
    ----------
    shapes
        Shape of each tensor by its name.

    Raises
    ------
    UserError
        If no named network has these shapes.
    """
    try:
        first = shapes["input_block.conv1.conv.weight"]
        levels = 2 + len({name.split(".")[1] for name in shapes if name.startswith("downsamples.")})
        blocks = ["input_block", *(f"downsamples.{i}" for i in range(levels - 2)), "bottleneck"]
        filters = tuple(shapes[f"{block}.conv1.conv.weight"][0] for block in blocks)
        deepest = tuple(shapes["upsamples.0.transp_conv.conv.weight"][2:])
        classes = shapes["output_block.conv.conv.weight"][0]
    except (KeyError, IndexError) as error:
        raise UserError(
            f"no residual DynUNet: tensor {error} is missing or misshapen among {len(shapes)} tensors"
        ) from error
    for name, architecture in ARCHITECTURES.items():
        if len(architecture.filters) == levels and architecture.strides[-1] == deepest:
            return NetworkConfig(name, filters, first[1], classes)
    raise UserError(
        f"a DynUNet of {levels} levels with a deepest stride of {deepest} is none of {', '.join(ARCHITECTURES)}"
    )
