"""Files of `torch.save`: read tensors and plain values, and say what another file is.

Nothing but tensors and plain containers is unpickled. Numpy scalars, which many trainers store beside the weights, are
read as None: stand-ins take the place of numpy's functions, so numpy does not see the file's bytes.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from swfastedit_core.checkpoint.kinds import SAVE_AGAIN, wrong_weights
from swfastedit_core.errors import UserError, is_out_of_memory

NNUNET_KEYS = {"network_weights", "trainer_name"}, {"state_dict", "plot_stuff"}  # of versions 2 and 1
MODULES = ("torch.nn.modules.", "monai.networks.")  # a pickled module names classes from here
LEGACY_PICKLES = 4  # files of torch before 1.6 begin with three short ones
TORCH_PROTOCOL = 2
MAX_PICKLE_BYTES = 2**26  # of the part that describes the tensors


class _NumpyDtype:
    """Stands for `numpy.dtype` in a file; ignores its arguments and its state."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _numpy_scalar(*_: object) -> None:
    """Stand for numpy's function that makes a scalar from bytes."""


STAND_INS: list[Any] = [
    (_NumpyDtype, "numpy.dtype"),
    (_numpy_scalar, "numpy.core.multiarray.scalar"),  # numpy 1
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
]


def load_torch_file(path: Path, *, device: str = "cpu") -> object:
    """Read what a file of `torch.save` holds. No code in the file is run.

    Parameters
    ----------
    path
        The file.
    device
        Where tensors are put. With ``meta`` their values are not read, only names, types and shapes.

    Raises
    ------
    UserError
        If the file is of another kind, is damaged, or holds more than tensors and plain values.
    """
    kind = wrong_weights(path)
    if kind is not None:
        raise UserError(f"{path}: {kind}")
    try:
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol, in torch's words; `_reason` has its own
            return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_reason(path, error)}") from error
    except Exception as error:  # the unpickler raises nearly any type on a damaged file
        if is_out_of_memory(error):
            raise
        raise UserError(f"{path}: not a readable PyTorch file; is it complete?") from error


def is_nnunet(keys: set[str]) -> bool:
    """Whether these are keys of an nnU-Net checkpoint."""
    return any(known <= keys for known in NNUNET_KEYS)


def nnunet_message() -> str:
    """Say what an nnU-Net checkpoint is good for."""
    return (
        "is an nnU-Net checkpoint, whose network this program does not have; segment with nnUNetv2_predict, "
        "or train a network with python -m swfastedit_core.train on the same data (--data images:FOLDER)"
    )


@dataclass(frozen=True)
class _Mentions:
    """What a pickle mentions.

    Attributes
    ----------
    callables
        Names of classes and functions, in their order.
    texts
        Strings, such as the keys of dicts.
    protocol
        Protocol of the pickle; torch reads 2.
    """

    callables: tuple[str, ...]
    texts: frozenset[str]
    protocol: int


def _reason(path: Path, error: Exception) -> str:
    """Say why a file is not opened, from the names in its pickle, which is parsed and not run, and torch's error."""
    mentions = _read_mentions(path)
    if is_nnunet(set(mentions.texts)):
        return nnunet_message()
    if any(name.startswith(MODULES) for name in mentions.callables):
        return f"holds a whole pickled module; it is not opened, because that could run code; {SAVE_AGAIN}"
    if mentions.protocol > TORCH_PROTOCOL:
        return (
            f"was written with pickle protocol {mentions.protocol}; it is not opened, because that could run code; "
            f"{SAVE_AGAIN}"
        )
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused:
        return f"holds more than tensors ({refused[1]}); it is not opened, because that could run code; {SAVE_AGAIN}"
    return "is damaged, or holds more than tensors; it is not opened, because that could run code"


def _read_mentions(path: Path) -> _Mentions:
    callables: list[str] = []
    texts: list[str] = []
    protocol = 0
    try:
        for operation, argument in _operations(path):
            if operation == "GLOBAL":
                callables.append(argument.replace(" ", "."))
            elif operation == "STACK_GLOBAL":
                callables.append(".".join(texts[-2:]))
            elif operation == "PROTO":
                protocol = argument
            elif isinstance(argument, str):
                texts.append(argument)
    except Exception:  # a damaged pickle: what was found before the damage counts
        pass
    return _Mentions(tuple(callables), frozenset(texts), protocol)


def _operations(path: Path) -> Iterator[tuple[str, Any]]:
    """Parse the pickles of a file; yield the name and the argument of each operation."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(LEGACY_PICKLES):
                yield from _one_pickle(file)
        return
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        if archive.getinfo(name).file_size <= MAX_PICKLE_BYTES:
            with archive.open(name) as file:
                yield from _one_pickle(file)


def _one_pickle(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    import pickletools

    for operation, argument, _ in pickletools.genops(file):
        yield operation.name, argument
