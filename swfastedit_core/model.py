"""The networks: MONAI's residual DynUNet in the four sizes of the published method.

Topology and tensor names are MONAI's (`monai.networks.nets.DynUNet` with ``res_block=True`` and
``norm_name="instance"``), so weights fit both; the tests compare outputs. The module does not import MONAI: the import
would add three seconds to each scan in a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swfastedit_core.box import Triple
from swfastedit_core.errors import UserError

TWO: Triple = (2, 2, 2)
FLAT: Triple = (2, 2, 1)  # keeps the resolution along the body axis
LEAK = 0.01  # slope of the activation below 0
NORM_EPSILON = 1e-5  # instance norm adds it to the variance


@dataclass(frozen=True)
class Architecture:
    """The topology of a named network.

    Attributes
    ----------
    strides
        Stride of each level below the first along x, y, z.
    filters
        Default number of channels of each level.
    dropout
        Probability of dropping an activation in training.
    """

    strides: tuple[Triple, ...]
    filters: tuple[int, ...]
    dropout: float = 0.0


ARCHITECTURES: Mapping[str, Architecture] = {
    "smalldynunet": Architecture((TWO, FLAT), (32, 64, 128)),
    "dynunet": Architecture((TWO, TWO, TWO, TWO, FLAT), (32, 64, 128, 256, 320, 320)),
    "bigdynunet": Architecture((TWO, TWO, TWO, TWO, TWO, FLAT), (32, 64, 128, 256, 320, 320, 320)),
    "hugedynunet": Architecture((TWO,) * 6, (32, 64, 128, 192, 256, 384, 512), dropout=0.1),
}


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build a network.

    Attributes
    ----------
    name
        One of ``ARCHITECTURES``.
    filters
        Channels of each level; if empty, the default of the name.
    in_channels, out_channels
        Number of image channels and of classes.

    Raises
    ------
    UserError
        If the name is unknown, or the filters do not fit its levels.
    """

    name: str = "dynunet"
    filters: tuple[int, ...] = ()
    in_channels: int = 1
    out_channels: int = 2

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES:
            raise UserError(f"unknown network '{self.name}', expected one of {', '.join(ARCHITECTURES)}")
        default = ARCHITECTURES[self.name].filters
        object.__setattr__(self, "filters", tuple(self.filters) or default)
        if len(self.filters) != len(default) or min(self.filters) < 1:
            raise UserError(f"filters {self.filters} for '{self.name}', expected {len(default)} positive numbers")
        if self.in_channels < 1 or self.out_channels < 2:
            raise UserError(
                f"{self.in_channels} input channels and {self.out_channels} class(es), expected at least one channel "
                "and two classes: background and tumour (softmax, not sigmoid)"
            )

    @property
    def architecture(self) -> Architecture:
        """Strides of the levels, default filters and dropout."""
        return ARCHITECTURES[self.name]

    @property
    def divisor_xyz(self) -> Triple:
        """The sides of a window must be multiples of these numbers."""
        x = y = z = 1
        for stride in self.architecture.strides:
            x, y, z = x * stride[0], y * stride[1], z * stride[2]
        return x, y, z

    def accepts(self, window: Triple) -> bool:
        """Whether the sides are multiples of `divisor_xyz`, and one of them is at least twice that.

        With one voxel on the deepest level, instance norm is undefined.
        """
        sides = list(zip(window, self.divisor_xyz, strict=True))
        multiples = all(side >= divisor and side % divisor == 0 for side, divisor in sides)
        return multiples and any(side >= 2 * divisor for side, divisor in sides)


def build_network(config: NetworkConfig) -> DynUNet:
    """Build the network with random weights (Kaiming normal, as in MONAI)."""
    return DynUNet(config)


class DynUNet(nn.Module):
    """Residual encoder, plain decoder, skip connections by concatenation.

    Input [N, C, X, Y, Z] with sides that are multiples of ``config.divisor_xyz``; output [N, classes, X, Y, Z],
    logits.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        filters, strides, dropout = config.filters, config.architecture.strides, config.architecture.dropout
        down = [ResidualBlock(filters[i], filters[i + 1], stride, dropout) for i, stride in enumerate(strides)]
        self.input_block = ResidualBlock(config.in_channels, filters[0], (1, 1, 1), dropout)
        self.downsamples = nn.ModuleList(down[:-1])
        self.bottleneck = down[-1]
        self.upsamples = nn.ModuleList(
            UpBlock(filters[i + 1], filters[i], strides[i], dropout) for i in reversed(range(len(strides)))
        )
        self.output_block = OutputBlock(filters[0], config.out_channels, dropout)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self._encode(x)
        for upsample in self.upsamples:
            x = upsample(x, skips.pop())
        out: Tensor = self.output_block(x)
        return out

    def decoder_features(self, x: Tensor) -> list[Tensor]:
        """Return the decoder's feature maps, the finest first: [N, filters[i], X, Y, Z] at level i."""
        x, skips = self._encode(x)
        levels: list[Tensor] = []
        for upsample in self.upsamples:
            x = upsample(x, skips.pop())
            levels.insert(0, x)
        return levels

    def _encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the bottleneck's feature map, and the skip connections of the levels above it, the finest first."""
        skips = [self.input_block(x)]
        for downsample in self.downsamples:
            skips.append(downsample(skips[-1]))
        return self.bottleneck(skips[-1]), skips


class Convolution(nn.Sequential):
    """A convolution, with dropout if the network has it; the wrapper gives the tensors MONAI's names."""

    def __init__(self, conv: nn.Module, dropout: float) -> None:
        super().__init__()
        self.conv = conv
        if dropout:
            self.dropout = nn.Dropout(dropout)


def _conv(inputs: int, outputs: int, stride: Triple, dropout: float) -> Convolution:
    return Convolution(nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False), dropout)


class ResidualBlock(nn.Module):
    """Two convolutions with instance norm, and a shortcut: a 1×1×1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: Triple, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, stride, dropout)
        self.conv2 = _conv(outputs, outputs, (1, 1, 1), dropout)
        self.norm1 = nn.InstanceNorm3d(outputs, eps=NORM_EPSILON)
        self.norm2 = nn.InstanceNorm3d(outputs, eps=NORM_EPSILON)
        self.norm3 = nn.InstanceNorm3d(outputs, eps=NORM_EPSILON)
        self.lrelu = nn.LeakyReLU(LEAK, inplace=True)
        self.conv3: Convolution | None = None
        if inputs != outputs or stride != (1, 1, 1):
            self.conv3 = Convolution(nn.Conv3d(inputs, outputs, 1, stride, bias=False), dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.lrelu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x if self.conv3 is None else self.norm3(self.conv3(x))
        out: Tensor = self.lrelu(y)
        return out


class PlainBlock(nn.Module):
    """Two convolutions with instance norm."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, (1, 1, 1), dropout)
        self.conv2 = _conv(outputs, outputs, (1, 1, 1), dropout)
        self.norm1 = nn.InstanceNorm3d(outputs, eps=NORM_EPSILON)
        self.norm2 = nn.InstanceNorm3d(outputs, eps=NORM_EPSILON)
        self.lrelu = nn.LeakyReLU(LEAK, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrelu(self.norm1(self.conv1(x)))
        out: Tensor = self.lrelu(self.norm2(self.conv2(x)))
        return out


class UpBlock(nn.Module):
    """Transposed convolution, concatenation with the skip connection, two convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: Triple, dropout: float) -> None:
        super().__init__()
        self.transp_conv = Convolution(nn.ConvTranspose3d(inputs, outputs, stride, stride, bias=False), dropout)
        self.conv_block = PlainBlock(2 * outputs, outputs, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.conv_block(torch.cat((self.transp_conv(x), skip), dim=1))
        return out


class OutputBlock(nn.Module):
    """A 1×1×1 convolution from the first level's channels to the classes."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = Convolution(nn.Conv3d(inputs, classes, 1), dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def _initialise(module: nn.Module) -> None:
    # Initialisers on meta tensors import torch's compiler: 0.7 s and a folder in /tmp.
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, a=LEAK)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
