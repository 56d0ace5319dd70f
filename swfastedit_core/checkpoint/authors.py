"""The authors' weights: a `torch.save`d dict whose key ``net`` holds a MONAI DynUNet's state dict."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from swfastedit_core.errors import UserError

NETWORK_KEY = "net"
ALIAS = "skip_layers."  # MONAI registers every block a second time under this name


def read_authors_tensors(path: Path) -> dict[str, Tensor]:
    """Read the network's tensors from a ``.pt`` file, without running any code that it may hold.

    Raises
    ------
    UserError
        If the file is no such dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: is damaged, or holds more than tensors and is not opened, since that could run code; "
            f"expected a dict with the key '{NETWORK_KEY}'"
        ) from error
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise UserError(f"{path}: not a readable PyTorch file; is it complete?") from error
    state = content.get(NETWORK_KEY, content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = type(content).__name__
        if isinstance(content, dict):
            found = f"the keys {', '.join(map(str, list(content)[:5]))}" if content else "an empty dict"
        raise UserError(f"{path}: found {found}, expected the key '{NETWORK_KEY}' with a network's tensors")
    return {str(name): tensor for name, tensor in state.items() if not str(name).startswith(ALIAS)}
