"""Check the files to upload as the platform does: ``PYTHONPATH=test python -m trial.archive FILE …``.

A file with the name model.tar.gz contains weights, any other file an image. The module needs the standard library only,
so that ./export.sh runs without an environment.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trial.image import Image, check_config

MAX_BYTES = 10 * 10**9  # COMPONENTS_MAXIMUM_IMAGE_SIZE of grand-challenge.org, read as decimal GB
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
MAX_TEXT_BYTES = 4 * 2**20  # manifest and configuration are far smaller, layers far larger
BLOCK_BYTES = 4 * 2**20
GZIP, GZIP_ONLY = b"\x1f\x8b", zlib.MAX_WBITS + 16
OTHER_COMPRESSIONS = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}


class ArchiveError(Exception):
    """The platform would refuse the file; the message is one line with the reason."""


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes
    ----------
    digest
        SHA-256 of the bytes.
    unpacked_digest
        SHA-256 of the unpacked bytes; the same as `digest` if they are not compressed with gzip.
    content
        The bytes of a small file; None for a large one.
    compression
        Name of a compression other than gzip; empty if there is none.
    """

    digest: str
    unpacked_digest: str
    content: bytes | None
    compression: str = ""


def check_image_archive(path: Path) -> list[str]:
    """Check the archive of an image, in the layout of Docker before 25 or since.

    Returns
    -------
    list of str
        Size, layers and configuration, in words.

    Raises
    ------
    ArchiveError
        If the platform would refuse the upload, or could not run the image.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ArchiveError(f"{size / 1e9:.1f} GB, the platform takes {MAX_BYTES / 1e9:.0f} GB at most")
    members = _read_members(path)
    config, layers = _read_image(members)
    _check_layers(config, layers)
    return [f"{size / 1e6:.0f} MB", f"one image of {len(layers)} layers", *_check_config(config)]


def check_model_archive(path: Path) -> list[str]:
    """Check a model tarball: readable, plain files with relative names, weights at its top level.

    Returns
    -------
    list of str
        Size of the tarball, then name and size of each file of weights.

    Raises
    ------
    ArchiveError
        If one of these is not so.
    """
    if not path.name.endswith(".tar.gz"):
        raise ArchiveError("the name must end in .tar.gz")
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = archive.getmembers()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"not a readable .tar.gz ({error})") from error
    refused = [entry.name for entry in found if not (entry.isfile() or entry.isdir()) or _leaves_folder(entry.name)]
    if refused:
        raise ArchiveError(f"found {', '.join(refused[:3])}, expected plain files with relative names")
    weights = [member for member in found if member.isfile() and Path(member.name).suffix in WEIGHTS]
    if not weights or any(len(Path(member.name).parts) != 1 for member in weights):
        raise ArchiveError(
            f"found {', '.join(member.name for member in found) or 'nothing'}, expected weights at the top level"
        )
    return [
        f"{path.stat().st_size / 1e6:.1f} MB",
        *(f"{member.name} ({member.size / 1e6:.1f} MB)" for member in weights),
    ]


def _read_members(path: Path) -> dict[str, Member]:
    """Read the archive once, from beginning to end; a link gets the content of its target."""
    members: dict[str, Member] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if entry.issym():
                    links[name] = _resolve(Path(name).parent / entry.linkname)
                elif entry.islnk():
                    links[name] = entry.linkname.removeprefix("./")
                elif entry.isfile():
                    file = archive.extractfile(entry)
                    assert file is not None
                    members[name] = _read_member(file, keep=entry.size <= MAX_TEXT_BYTES)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"not a readable archive ({error})") from error
    members.update({name: members[target] for name, target in links.items() if target in members})
    return members


def _read_member(file: IO[bytes], *, keep: bool) -> Member:
    """Compute the digests of a member block by block; keep its bytes if asked to."""
    plain, unpacked, content = hashlib.sha256(), hashlib.sha256(), b""
    unpack, compression = None, ""
    for number, block in enumerate(iter(lambda: file.read(BLOCK_BYTES), b"")):
        if number == 0:
            unpack = Gunzip() if block.startswith(GZIP) else None
            compression = next((name for magic, name in OTHER_COMPRESSIONS.items() if block.startswith(magic)), "")
        plain.update(block)
        for part in unpack(block) if unpack else (block,):
            unpacked.update(part)
        content += block if keep else b""
    return Member(plain.hexdigest(), unpacked.hexdigest(), content if keep else None, compression)


class Gunzip:
    """Unpacks gzip block by block; the data may have several gzip members, as parallel and seekable writers make it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP_ONLY)

    def __call__(self, block: bytes) -> Iterator[bytes]:
        """Yield the unpacked bytes of a block."""
        while block:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_ONLY)
            yield self._member.decompress(block)
            block = self._member.unused_data


def _read_image(members: dict[str, Member]) -> tuple[dict[str, Any], list[Member]]:
    """Return configuration and layers of the only image in the manifest."""
    manifest = _read_json(members, "manifest.json")
    if not isinstance(manifest, list) or len(manifest) != 1:
        count = len(manifest) if isinstance(manifest, list) else "no list of"
        raise ArchiveError(f"manifest.json holds {count} images, expected one")
    (image,) = manifest
    name = image["Config"]
    config = _read_json(members, name)
    if Path(name).stem != members[name].digest:  # <sha256>.json, or blobs/sha256/<sha256>
        raise ArchiveError(f"the configuration's sha256 is {members[name].digest}, its name says {Path(name).stem}")
    missing = [layer for layer in image["Layers"] if layer not in members]
    if missing:
        raise ArchiveError(f"{len(missing)} of {len(image['Layers'])} layers are missing, the first is {missing[0]}")
    return config, [members[layer] for layer in image["Layers"]]


def _check_layers(config: dict[str, Any], layers: list[Member]) -> None:
    compressions = sorted({layer.compression for layer in layers} - {""})
    if compressions:
        names = ", ".join(compressions)
        raise ArchiveError(f"layers are compressed with {names}, expected gzip or none: build and save them so")
    expected = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
    found = [layer.unpacked_digest for layer in layers]
    if expected != found:
        wrong = sum(a != b for a, b in zip(expected, found, strict=False)) + abs(len(expected) - len(found))
        raise ArchiveError(f"{wrong} layer(s) do not have the sha256 that the configuration names; export again")


def _check_config(config: dict[str, Any]) -> list[str]:
    image = Image.from_config("", f"{config.get('os')}/{config.get('architecture')}", config.get("config") or {})
    checks = check_config(image)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise ArchiveError("; ".join(f"{check.name}: {check.found}" for check in failed))
    return [f"{check.name.removeprefix('image ')} {check.found}" for check in checks]


def _read_json(members: dict[str, Member], name: str) -> Any:
    content = members[name].content if name in members else None
    try:
        return json.loads(content or b"")
    except ValueError as error:
        raise ArchiveError(f"{name} is missing or is not JSON") from error


def _resolve(path: Path) -> str:
    """Resolve the ``..`` in the target of a link."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)


def _leaves_folder(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files named on the command line; return the exit code."""
    code = 0
    for name in sys.argv[1:] if arguments is None else arguments:
        path = Path(name)
        try:
            found = check_model_archive(path) if path.name == "model.tar.gz" else check_image_archive(path)
        except (ArchiveError, OSError, KeyError, TypeError, gzip.BadGzipFile) as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{path}\n    {', '.join(found)}\n    sha256 {sha256(path)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
