"""Archives of images as Docker writes them, for tests."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

LABELS = {
    "org.grand-challenge.api-method": "invoke",
    "org.opencontainers.image.title": "swfastedit",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "abc",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.source": "unknown",
}
ENV = ["PATH=/bin", "SWFASTEDIT_OPTIONS=--api-method invoke --task autopet4"]
INNER = {"User": "10001:10001", "Entrypoint": ["python"], "Labels": LABELS, "Env": ENV}
CONFIG = {"architecture": "amd64", "os": "linux", "config": INNER}


def configured(**inner):
    return {"config": {**CONFIG, "config": {**INNER, **inner}}}


def image_archive(path, *, config=CONFIG, blobs=False, pack=bytes, images=1, spoil=""):
    """Write the archive of an image with two layers, in the layout of Docker before 25 or, with `blobs`, since."""
    layers = [b"first layer" * 1000, b"second layer" * 1000]
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = {**config, "rootfs": {"diff_ids": [f"sha256:{digest}" for digest in digests]}}
    text = json.dumps(config).encode()
    name = hashlib.sha256(text).hexdigest()
    names = [f"blobs/sha256/{digest}" if blobs else f"{digest}/layer.tar" for digest in digests]
    entry = {"Config": f"blobs/sha256/{name}" if blobs else f"{name}.json", "RepoTags": ["x:y"], "Layers": names}
    contents = dict(zip(names, map(pack, layers), strict=True))
    contents[entry["Config"]] = text if spoil != "config" else text + b" "
    contents["manifest.json"] = json.dumps([entry] * images).encode()
    if spoil == "layer":
        contents[names[1]] = b"something else"
    if spoil == "missing":
        del contents[names[1]]
    with tarfile.open(path, "w:gz") as tar:
        for member, content in contents.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
