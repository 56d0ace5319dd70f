"""Values that pass every check: an image, limits, and what the probe finds in a container."""

from __future__ import annotations

from pathlib import Path

from trial.image import Image
from trial.limits import GIB, Limits

SOCKET = Path("images/automated-petct-lesion-segmentation")
LIMITS = Limits(seconds=300.0, memory_bytes=16 * GIB)
LABELS = {
    "org.opencontainers.image.title": "swfastedit",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "unknown",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.source": "unknown",
}
IMAGE = Image(
    "x",
    user="10001:10001",
    architecture="linux/amd64",
    labels=LABELS,
    entrypoint=["python"],
    command=[],
    environment={},
)
FOUND_LIMITS = {
    "/input": "link to /mnt/case, 755, read only, empty",
    "/output": "777, writable, empty",
    "/tmp": "777, writable, empty",
    "/opt/ml": "755, read only, empty",
    "network": ["lo"],
    "capabilities": [0, 0],
    "no new privileges": 1,
    "memory": 16 * GIB,
    "memory and swap": 16 * GIB,
    "shared memory": 8 * GIB,
    "data segment": 15 * GIB,
    "processes": 256,
    "LOG_LEVEL": "INFO",
}
