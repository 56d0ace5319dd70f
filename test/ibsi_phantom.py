"""The digital phantom of the Image Biomarker Standardisation Initiative, with its published reference values.

Voxels: https://github.com/theibsi/data_sets, ibsi_1_digital_phantom, by Alex Zwanenburg (CC BY 4.0). Values and
tolerances: reference manual of the IBSI, https://arxiv.org/abs/1612.07003.
"""

from __future__ import annotations

import numpy as np

SPACING_ZYX_MM = (2.0, 2.0, 2.0)
OUTSIDE = 0  # for voxels outside of the region of interest, in `IMAGE_ZYX` and below
IMAGE_ZYX = np.array(
    [
        [[4, 4, 6, 4, 1], [4, 4, 6, 1, 1], [1, 1, 6, 1, 1], [1, 1, 6, 1, 1]],
        [[4, 1, 6, 4, 1], [0, 1, 3, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 1, 1]],
        [[1, 4, 6, 1, 1], [1, 1, 6, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
        [[1, 4, 4, 1, 1], [1, 4, 4, 1, 1], [1, 4, 4, 0, 0], [1, 4, 4, 0, 0]],
    ],
    np.float32,
)
MASK_ZYX = IMAGE_ZYX != OUTSIDE

# Value and tolerance.
VOLUME_MM3 = (592.0, 4.0)  # counted voxels
MESH_VOLUME_MM3 = (556.0, 4.0)
SURFACE_MM2 = (388.0, 3.0)
SPHERICITY = (0.843, 0.005)
SURFACE_TO_VOLUME_PER_MM = (0.698, 0.004)
MAXIMUM_DIAMETER_MM = (13.1, 0.1)  # between vertices of the mesh
MEAN = (2.15, 0.0)
MAXIMUM = (6.0, 0.0)
LOCAL_PEAK = (2.6, 0.0)
GLOBAL_PEAK = (3.1, 0.0)
