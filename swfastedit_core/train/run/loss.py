"""The training network (optional deep supervision, optional windows) and its loss."""

from __future__ import annotations

from typing import Literal, cast

import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss, DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from swfastedit_core.box import Triple
from swfastedit_core.model import DynUNet

WINDOWS_IN_A_BATCH = 8  # if a crop is cut into windows; as in the recipe
SUPERVISED_LEVELS = 3  # levels of the decoder with a loss, the output included


class TrainingNetwork(nn.Module):
    """A network with the parts that only training uses: heads for deep supervision, and windows.

    Parameters
    ----------
    network
        The network whose weights are trained and exported.
    deep_supervision
        Add a prediction of each coarser level of the decoder, with its own head, which is not exported
        (Lee et al., Deeply-Supervised Nets, AISTATS 2015). The output of the network itself stays the same.
    window
        Sides of a window in voxels along x, y, z; used with `overlap`.
    overlap
        Cut crops of another size than the window into windows with this overlap, and blend the logits, as in
        inference; None gives the network whole crops.
    """

    def __init__(
        self,
        network: DynUNet,
        *,
        deep_supervision: bool = False,
        window: Triple | None = None,
        overlap: float | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        levels = range(1, min(SUPERVISED_LEVELS, len(network.upsamples))) if deep_supervision else range(0)
        classes, filters = network.config.out_channels, network.config.filters
        self.heads = nn.ModuleList(nn.Conv3d(filters[level], classes, 1) for level in levels)
        self._window, self._overlap = window, overlap

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits [N, classes, X, Y, Z] of the network, followed by those of coarser and coarser levels."""
        if self._overlap is not None and self._window is not None and tuple(image.shape[2:]) != self._window:
            # A float32 image makes MONAI blend in float32, under autocast as well.
            logits = sliding_window_inference(
                image.float(),
                self._window,
                WINDOWS_IN_A_BATCH,
                self.network,
                self._overlap,
                mode="gaussian",
                progress=False,
            )
            return [cast(Tensor, logits)]
        if not self.heads:
            return [self.network(image)]
        features = self.network.decoder_features(image)
        coarser = [head(feature) for head, feature in zip(self.heads, features[1:], strict=False)]
        return [self.network.output_block(features[0]), *coarser]


class SegmentationLoss:
    """The recipe's loss: the sum of Dice loss and cross entropy, of the softmax; by request the Dice loss alone.

    With deep supervision it is the weighted mean over the levels, where each level weighs half as much as the finer
    one. In a crop without a lesion the Dice loss is nearly constant, and the gradient comes from the cross entropy.

    Parameters
    ----------
    kind
        ``dice-ce`` or ``dice``.
    background
        Whether the Dice loss is the mean of background and tumour, or that of the tumour only. The cross entropy has
        both.
    squared
        Square the probabilities in the denominator of the Dice loss, as the authors' code does.
    """

    def __init__(
        self, kind: Literal["dice-ce", "dice"] = "dice-ce", *, background: bool = True, squared: bool = True
    ) -> None:
        loss = DiceCELoss if kind == "dice-ce" else DiceLoss
        self._loss = loss(include_background=background, to_onehot_y=True, softmax=True, squared_pred=squared)

    def __call__(self, logits: list[Tensor], label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        logits
            From a `TrainingNetwork`, one tensor for each level.
        label
            uint8 [N, 1, X, Y, Z], the class of each voxel: 0 or 1.
        """
        weights = [0.5**level for level in range(len(logits))]
        losses = [self._loss(level_logits.float(), _downsample(label, level_logits)) for level_logits in logits]
        return cast(Tensor, sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights))


def _downsample(label: Tensor, logits: Tensor) -> Tensor:
    """Return the label at the size of a level: lesion where at least half of the voxel is lesion."""
    size = logits.shape[2:]
    if label.shape[2:] == size:
        return label
    return (functional.adaptive_avg_pool3d(label.float(), (size[0], size[1], size[2])) >= 0.5).to(torch.uint8)
