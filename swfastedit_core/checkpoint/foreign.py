"""Checkpoints of other programs: the residual DynUNet in a file of `torch.save`.

The authors store a dict with the key ``net``. Other trainers use other keys, store an average beside the weights, or
put a prefix in front of each name (``module.`` by DDP, ``_orig_mod.`` by torch.compile, the attribute's name by
Lightning).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from swfastedit_core.checkpoint.topology import FIRST_TENSOR, network_from_shapes
from swfastedit_core.checkpoint.torch_file import is_nnunet, load_torch_file, nnunet_message
from swfastedit_core.errors import UserError
from swfastedit_core.model import NetworkConfig

ALIAS = "skip_layers."  # MONAI registers every block twice; these are the second names
HEADS = "deep_supervision_heads."
SHOWN = 5  # number of keys that a message names


@dataclass(frozen=True, eq=False)
class ForeignNetwork:
    """A network that was found in a file of another program.

    Attributes
    ----------
    name
        Its place in the file: the keys of the dicts, and the prefix if one dict holds several networks.
    tensors
        State dict with MONAI's names, without second names and without heads of deep supervision.
    remarks
        What was left out, as sentences for the user.
    """

    name: str
    tensors: dict[str, Tensor]
    remarks: tuple[str, ...]

    def config(self) -> NetworkConfig:
        """Infer the network; raise a UserError if it is no residual DynUNet of this program."""
        return network_from_shapes({name: tuple(tensor.shape) for name, tensor in self.tensors.items()})


def read_foreign(path: Path, *, key: str | None = None, device: str = "cpu") -> ForeignNetwork:
    """Read the one residual DynUNet in a file of `torch.save`. No code in the file is run.

    Parameters
    ----------
    path
        The file.
    key
        Name of the network, for a file that holds several.
    device
        As for `load_torch_file`: ``meta`` leaves the values of the tensors in the file.

    Raises
    ------
    UserError
        If the file cannot be read, or holds no such network, or several and no key tells which.
    """
    content = load_torch_file(path, device=device)
    networks = list(find_networks(content))
    if not networks:
        raise UserError(f"{path}: {_describe(content)}")
    if key is not None:
        chosen = [network for network in networks if network.name == key]
        if not chosen:
            raise UserError(f"{path}: --key {key}, expected one of {', '.join(n.name for n in networks)}")
        return chosen[0]
    fitting = [network for network in networks if _fits(network)] or networks[:1]
    if len(fitting) > 1:
        raise UserError(
            f"{path}: holds {len(fitting)} networks ({', '.join(n.name for n in fitting)}); choose one: "
            f"python -m swfastedit_core.checkpoint convert {shlex.quote(str(path))} NEW.safetensors --key NAME"
        )
    return fitting[0]


def find_networks(content: object) -> Iterator[ForeignNetwork]:
    """Find every DynUNet in nested dicts, also those that this program does not have."""
    places: list[tuple[str, object]] = [("", content)]
    seen: set[int] = set()  # a dict may contain itself
    while places:
        place, plain = places.pop(0)
        if not isinstance(plain, dict) or id(plain) in seen:
            continue
        seen.add(id(plain))
        yield from _networks_of(place, plain)
        inner = [(str(key), value) for key, value in plain.items() if isinstance(value, dict)]
        places += [(f"{place}.{key}" if place else key, value) for key, value in inner]


def _networks_of(place: str, plain: dict[Any, Any]) -> Iterator[ForeignNetwork]:
    """Yield a network for each prefix in one dict."""
    tensors = {str(name): value.detach() for name, value in plain.items() if isinstance(value, Tensor)}
    found = (name.removesuffix(FIRST_TENSOR) for name in tensors if name.endswith(FIRST_TENSOR))
    prefixes = sorted((prefix for prefix in found if not prefix or prefix.endswith(".")), key=len, reverse=True)
    own: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    others = []
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)  # the longest
        if prefix is None:
            others.append(name)
        else:
            own[prefix][name.removeprefix(prefix)] = tensor
    for prefix, state in reversed(own.items()):
        named = [place] if place else []
        if len(own) > 1 and prefix:
            named.append(prefix.rstrip("."))
        yield _network(".".join(named) or ".", state, others)


def _network(name: str, state: dict[str, Tensor], others: Sequence[str]) -> ForeignNetwork:
    """Leave out second names and heads of deep supervision."""
    heads = {name.split(".")[1] for name in state if name.startswith(HEADS)}
    remarks = []
    if heads:
        remarks.append(f"{len(heads)} head(s) of deep supervision left out: only training needs them")
    if others:
        remarks.append(f"{len(others)} tensor(s) outside the network left out: {_some(others)}")
    kept = {name: tensor for name, tensor in state.items() if not name.startswith((ALIAS, HEADS))}
    return ForeignNetwork(name, kept, tuple(remarks))


def _fits(network: ForeignNetwork) -> bool:
    try:
        network.config()
    except UserError:
        return False
    return True


def _describe(content: object) -> str:
    """Say what a file without a DynUNet holds."""
    expected = "expected the tensors of a residual DynUNet, such as {'net': model.state_dict()}"
    if not isinstance(content, dict):
        return f"found {type(content).__name__}, {expected}"
    keys = [str(key) for key in content]
    if is_nnunet(set(keys)):
        return nnunet_message()
    return f"found {f'the keys {_some(keys)}' if keys else 'an empty dict'}, {expected}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
