"""The recipe, built from MONAI's parts: the reference for masks and times.

``python -m bench.reference SCAN WEIGHTS`` runs it and prints its time and memory as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.networks.layers import GaussianFilter
from monai.networks.nets import DynUNet
from monai.transforms import (
    Compose,
    Invertd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

from swfastedit_core.checkpoint import Checkpoint, CheckpointConfig, read_checkpoint
from swfastedit_core.click_encodings import DISC_THRESHOLD, DiscEncoding, GaussianEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.memory import peak_memory_mb
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.system.stopwatch import seconds_since_start

OVERLAP = 0.75


@dataclass(frozen=True)
class Timing:
    """Time and memory of a run.

    Attributes
    ----------
    windows
        Number of windows in the whole volume.
    windows_run
        Number of windows that ran.
    before_seconds
        From the start of the process to the first window, plus the warm-up of this window.
    window_seconds
        Per window, blending included.
    after_seconds
        From the last window to the mask on the scan's grid.
    peak_memory_mb
        Peak memory of the process.
    """

    windows: int
    windows_run: int
    before_seconds: float
    window_seconds: float
    after_seconds: float
    peak_memory_mb: float

    @property
    def total_seconds(self) -> float:
        """Seconds for the whole volume; extrapolated if only some windows ran."""
        return self.before_seconds + self.windows * self.window_seconds + self.after_seconds


def monai_network(checkpoint: Checkpoint) -> Any:
    """Return MONAI's DynUNet with the weights of a checkpoint."""
    config = checkpoint.config.network
    strides = [(1, 1, 1), *config.architecture.strides]
    network = DynUNet(
        3,
        config.in_channels,
        config.out_channels,
        kernel_size=[3] * len(strides),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(config.filters),
        norm_name="instance",
        res_block=True,
    )
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.startswith("skip_layers.") for name in missing)  # aliases of the same blocks
    return network.eval()


def preprocessing(config: CheckpointConfig) -> Any:
    """Return MONAI's transforms from a file to the network input, under the key "image"."""
    intensity = config.preprocessing.intensity
    to_unit = {"b_min": 0.0, "b_max": 1.0, "clip": True}
    if isinstance(intensity, RangeIntensity):
        scale = ScaleIntensityRanged("image", intensity.lower_suv, intensity.upper_suv, **to_unit)
    else:
        scale = ScaleIntensityRangePercentilesd("image", intensity.lower, intensity.upper, relative=False, **to_unit)
    return Compose(
        [
            LoadImaged("image", ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=config.preprocessing.spacing_mm, mode="bilinear"),
            scale,
        ]
    )


def guidance(image: Any, clicks: Sequence[Click], config: CheckpointConfig) -> torch.Tensor:
    """Return the guidance channels on an image's grid, [2, X, Y, Z], as the authors paint them.

    Parameters
    ----------
    image
        MONAI's, from `preprocessing`.
    clicks
        Voxel indices of the file.
    config
        Of a network that takes clicks as discs or Gaussians.
    """
    encoding = config.clicks
    assert isinstance(encoding, DiscEncoding | GaussianEncoding)
    to_grid = np.linalg.inv(image.affine.numpy()) @ np.asarray(image.meta["original_affine"].tolist())
    channels = torch.zeros((len(ClickKind), *image.shape[1:]))
    for channel, kind in zip(channels, ClickKind, strict=True):
        for click in clicks:
            if click.kind is kind:
                nearest = np.rint(to_grid @ (*click.position, 1.0))[:3].astype(int)
                channel[tuple(np.minimum(nearest, np.array(channel.shape) - 1))] = 1.0
        if channel.any():
            blurred = GaussianFilter(3, encoding.sigma)(channel[None, None])[0, 0]
            channel.copy_((blurred - blurred.min()) / (blurred.max() - blurred.min()))
    return (channels > DISC_THRESHOLD).float() if isinstance(encoding, DiscEncoding) else channels


def recipe(
    scan: Path, checkpoint: Checkpoint, *, windows: int | None = None, clicks: Sequence[Click] = ()
) -> tuple[np.ndarray, Timing]:
    """Run the recipe.

    Parameters
    ----------
    scan
        A file that MONAI reads.
    checkpoint
        The weights.
    windows
        Run about this many windows in the middle of the scan and extrapolate their time. None: run all.
    clicks
        For a network that takes clicks: voxel indices of the file.

    Returns
    -------
    mask : ndarray
        uint8 [Z, Y, X] as SimpleITK would read it. Only valid if all windows ran.
    timing : Timing
        Time and memory.
    """
    config, network = checkpoint.config, monai_network(checkpoint)
    transforms = preprocessing(config)
    inferer = SlidingWindowInferer(config.window, sw_batch_size=1, overlap=OVERLAP, mode="gaussian")
    data = transforms({"image": str(scan)})
    image = data["image"]
    step = tuple(max(int(side * (1 - OVERLAP)), 1) for side in config.window)
    total = _count(image.shape[1:], config.window, step)
    given = torch.cat([image, guidance(image, clicks, config)]) if config.clicks is not None else image
    part = given if windows is None else _middle(given, config.window, step, windows)
    begin = seconds_since_start()
    starts: list[float] = []

    def timed(windows: torch.Tensor) -> Any:
        starts.append(seconds_since_start())
        return network(windows)

    with torch.inference_mode():
        logits = inferer(part[None], timed)[0]
        ends = [*starts[1:], seconds_since_start()]
        each = [end - start for start, end in zip(starts, ends, strict=True)]
        window_seconds = statistics.mean(each[1:] or each)
        before = begin + sum(each) - len(each) * window_seconds  # the first window includes the warm-up
        run = _count(part.shape[1:], config.window, step)
        start = time.perf_counter()
        data["pred"] = logits if windows is None else torch.zeros((config.network.out_channels, *image.shape[1:]))
        data["pred"].applied_operations = image.applied_operations
        inverse = Invertd("pred", transform=transforms, orig_keys="image", nearest_interp=False, to_tensor=True)
        mask = inverse(data)["pred"].numpy().argmax(axis=0).astype(np.uint8).transpose(2, 1, 0)
    timing = Timing(total, run, before, window_seconds, time.perf_counter() - start, peak_memory_mb())
    return mask, timing


def _count(shape: tuple[int, ...], window: tuple[int, ...], step: tuple[int, ...]) -> int:
    padded = [max(side, length) for side, length in zip(window, shape, strict=True)]
    return len(dense_patch_slices(padded, window, step))


def _middle(image: Any, window: tuple[int, ...], step: tuple[int, ...], windows: int) -> Any:
    """Return the middle part of an image that holds a column of windows along the last axis."""
    wanted = [window[0], window[1], window[2] + (windows - 1) * step[2]]
    starts = [max((length - side) // 2, 0) for length, side in zip(image.shape[1:], wanted, strict=True)]
    x, y, z = (slice(a, a + side) for a, side in zip(starts, wanted, strict=True))
    return image[:, x, y, z]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="python -m bench.reference", description=__doc__)
    parser.add_argument("scan", type=path_argument)
    parser.add_argument("weights", type=path_argument)
    parser.add_argument("--windows", type=int, metavar="N", help="run only about N windows (default: all)")

    def work(_: object) -> None:
        options: argparse.Namespace = parser.parse_args(arguments)
        limit_threads()
        _, timing = recipe(options.scan, read_checkpoint(options.weights), windows=options.windows)
        say(json.dumps(asdict(timing) | {"total_seconds": timing.total_seconds}))

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
