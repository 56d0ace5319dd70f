"""The network of a state dict, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swfastedit_core.errors import UserError
from swfastedit_core.model import ARCHITECTURES, NetworkConfig

FIRST_TENSOR = "input_block.conv1.conv.weight"  # every DynUNet of MONAI has it


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
        first = shapes[FIRST_TENSOR]
        levels = 2 + len({name.split(".")[1] for name in shapes if name.startswith("downsamples.")})
        blocks = ["input_block", *(f"downsamples.{i}" for i in range(levels - 2)), "bottleneck"]
        filters = tuple(shapes[f"{block}.conv1.conv.weight"][0] for block in blocks)
        deepest = tuple(shapes["upsamples.0.transp_conv.conv.weight"][2:])
        classes = shapes["output_block.conv.conv.weight"][0]
        in_channels = first[1]
    except (KeyError, IndexError) as error:
        raise UserError(
            f"no residual DynUNet: tensor {error} is missing or misshapen among {len(shapes)} tensors"
        ) from error
    if "bottleneck.conv3.conv.weight" not in shapes:
        raise UserError("a DynUNet without residual blocks, expected one that was built with res_block=True")
    if "input_block.norm1.weight" in shapes:
        raise UserError(
            "a DynUNet with trained norm layers (affine instance norm or batch norm), expected one that was built with "
            "norm_name='instance'"
        )
    for name, architecture in ARCHITECTURES.items():
        if len(architecture.filters) == levels and architecture.strides[-1] == deepest:
            return NetworkConfig(name, filters, in_channels, classes)
    known = "; ".join(
        f"'{name}' {len(architecture.filters)} and {architecture.strides[-1]}"
        for name, architecture in ARCHITECTURES.items()
    )
    raise UserError(
        f"a DynUNet of {levels} levels with a deepest stride of {deepest}, which this program does not build; it knows "
        f"{known}"
    )
