"""What is learned: the network with what only training needs, and the loss."""

from __future__ import annotations

from typing import cast

import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.nn import functional

from swfastedit_core.box import Triple
from swfastedit_core.model import DynUNet

WINDOWS = 8  # run at a time where a crop is larger than the window; the recipe's
SUPERVISED_LEVELS = 3  # of the decoder, the output included


class Learner(nn.Module):
    """A network in training.

    Parameters
    ----------
    network
        What the weights are of in the end.
    deep_supervision
        Let coarser levels of the decoder predict as well, each through a head that is dropped after training
        (Lee et al., Deeply-Supervised Nets, AISTATS 2015). Leaves the network itself as it is.
    window
        Sides of a window. Larger crops are then cut into windows and put together again, as in inference.
    overlap
        Share that such windows have in common; None gives the network whole crops of whatever size.
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
        """Return logits [N, classes, X, Y, Z], the network's own first, then those of ever coarser levels."""
        if self._overlap is not None and self._window is not None and tuple(image.shape[2:]) != self._window:
            found = sliding_window_inference(  # in float32 windows are put together in float32, under autocast, too
                image.float(), self._window, WINDOWS, self.network, self._overlap, mode="gaussian", progress=False
            )
            return [cast(Tensor, found)]
        if not self.heads:
            return [self.network(image)]
        features = self.network.decoder_features(image)
        coarser = [head(feature) for head, feature in zip(self.heads, features[1:], strict=False)]
        return [self.network.output_block(features[0]), *coarser]


class Objective:
    """The recipe's loss, Dice and cross entropy of the softmax; averaged over levels where there are several.

    Crops without a lesion have a finite loss: their Dice term is all but constant, and cross entropy acts alone.

    Parameters
    ----------
    squared
        Square the probabilities in the Dice term's denominator, as the authors' code does.
    """

    def __init__(self, *, squared: bool = True) -> None:
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True, squared_pred=squared)

    def __call__(self, logits: list[Tensor], label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Parameters
        ----------
        logits
            From a `Learner`.
        label
            uint8 [N, 1, X, Y, Z], the class of each voxel.
        """
        weights = [0.5**level for level in range(len(logits))]
        losses = [self._loss(found.float(), _shrunk(label, found)) for found in logits]
        return cast(Tensor, sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights))


def _shrunk(label: Tensor, logits: Tensor) -> Tensor:
    """Bring a label to the size of a coarser level: lesion where a lesion fills half of the voxel."""
    size = logits.shape[2:]
    if label.shape[2:] == size:
        return label
    return (functional.adaptive_avg_pool3d(label.float(), (size[0], size[1], size[2])) >= 0.5).to(torch.uint8)
