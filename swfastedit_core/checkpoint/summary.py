"""A checkpoint in a few lines for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from swfastedit_core.checkpoint.header import CheckpointConfig, describe_input, to_header
from swfastedit_core.checkpoint.storage import Checkpoint

LABEL_WIDTH = 14


def describe(checkpoint: Checkpoint) -> str:
    """Return the configuration, the number of parameters and the stored precision, as indented JSON.

    The history of training comes last: it is long.
    """
    about: dict[str, Any] = {
        "file": str(checkpoint.path),
        "parameters": _parameters(checkpoint),
        "stored_as": _precisions(checkpoint),
        "bytes": checkpoint.path.stat().st_size,
    }
    if checkpoint.notices:
        about["notices"] = checkpoint.notices
    config = json.loads(to_header(checkpoint.config))
    training = config.pop("training")
    return json.dumps({**about, **config, "training": training}, indent=2, ensure_ascii=False)


def summarise(checkpoint: Checkpoint) -> str:
    """Return a few lines: network, input, terms, training, validation, and what is assumed about the weights."""
    config = checkpoint.config
    filters = "-".join(map(str, config.network.filters))
    rows = [
        ("network", f"{config.network.name}, filters {filters}, {_parameters(checkpoint):,} parameters"),
        ("stored as", f"{' and '.join(_precisions(checkpoint))}, {checkpoint.path.stat().st_size / 1e6:.1f} MB"),
        ("channels", ", ".join(config.channels.names)),
        ("input", ", ".join(describe_input(config).values())),
        ("licence", config.licence),
        ("attribution", config.attribution or "none"),
        ("demonstration", "yes, not for patients" if config.demonstration else "no"),
        *_training(config),
        *(("notice", notice) for notice in checkpoint.notices),
    ]
    return "\n".join([str(checkpoint.path), *(f"  {name:{LABEL_WIDTH}}{_one_line(text)}" for name, text in rows)])


def _parameters(checkpoint: Checkpoint) -> int:
    return sum(tensor.numel() for tensor in checkpoint.tensors.values())


def _precisions(checkpoint: Checkpoint) -> list[str]:
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()})


def _training(config: CheckpointConfig) -> Iterator[tuple[str, str]]:
    """Yield rows about training and validation; files of other programs may lack any part of them, or hold others."""
    training = config.training
    data = [_data_set(one) for one in _list(training.get("data")) if isinstance(one, dict)]
    step, steps = training.get("step"), training.get("steps")
    length = f"{step} of {steps} steps" if isinstance(step, int) and isinstance(steps, int) else ""
    trained = ", ".join(filter(None, [length, f"on {' and '.join(data)}" if data else ""]))
    yield "trained", trained or "not described"
    start = training.get("start")
    if isinstance(start, dict):
        yield "started from", f"{start.get('file')}, licence {start.get('licence')}"
    validation = training.get("validation")
    dice = validation.get("dice") if isinstance(validation, dict) else None
    if isinstance(validation, dict) and isinstance(dice, int | float):
        yield "validation", f"mean Dice {dice:.4f} of {validation.get('cases')} scans, step {validation.get('step')}"
    else:
        yield "validation", "none"


def _data_set(plain: dict[str, Any]) -> str:
    """Describe a data set, for example as "400 cases of 400 patients (images)"."""
    return f"{plain.get('cases')} cases of {plain.get('patients')} patients ({plain.get('layout')})"


def _one_line(text: str) -> str:
    """Replace line breaks and control characters, which a file may hold, by spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
