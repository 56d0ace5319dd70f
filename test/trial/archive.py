"""Reopen what is to be uploaded and check what the platform checks: ``python -m trial.archive FILE …``.

A file called model.tar.gz holds weights, any other an image. The standard library is enough, since whoever exports
has built an image and may have nothing else.
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

from trial.image import Image, judge_config

LARGEST_BYTES = 10 * 10**9  # grand-challenge.org's COMPONENTS_MAXIMUM_IMAGE_SIZE, taken as decimal
WEIGHTS = (".safetensors", ".pt")
TEXT_BYTES = 4 * 2**20  # manifest and configuration are far smaller, layers far larger
BLOCK = 4 * 2**20
GZIP, GZIP_ONLY = b"\x1f\x8b", zlib.MAX_WBITS + 16
OTHER_PACKINGS = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}


class Unfit(Exception):  # noqa: N818 - it says what an upload is
    """The platform would refuse this file; one line says why."""


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes
    ----------
    digest
        Of its bytes as they are.
    unpacked_digest
        Of what they are unpacked; of the bytes themselves where they are not compressed.
    content
        The bytes, if they are few.
    packing
        A compression that is not known here, and was left as it is.
    """

    digest: str
    unpacked_digest: str
    content: bytes | None
    packing: str = ""


def check_image(path: Path) -> list[str]:
    """Check the archive of an image, either of Docker's layouts.

    Returns
    -------
    list of str
        What was found.

    Raises
    ------
    Unfit
        If the upload would be refused, or the platform could not run it.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise Unfit(f"{size / 1e9:.1f} GB, the platform takes {LARGEST_BYTES / 1e9:.0f} GB at most")
    members = _members(path)
    config, layers = _image(members)
    _check_layers(config, layers)
    return [f"{size / 1e6:.0f} MB", f"one image of {len(layers)} layers", *_check_config(config)]


def check_model(path: Path) -> list[str]:
    """Check a tarball of weights: readable, files with plain names, weights on its top level.

    Raises
    ------
    Unfit
        If it is not.
    """
    if not path.name.endswith(".tar.gz"):
        raise Unfit("the name must end in .tar.gz")
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = archive.getmembers()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Unfit(f"not a readable .tar.gz ({error})") from error
    odd = [member.name for member in found if not (member.isfile() or member.isdir()) or _leads_out(member.name)]
    if odd:
        raise Unfit(f"holds what is no plain file: {', '.join(odd[:3])}")
    weights = [member for member in found if member.isfile() and Path(member.name).suffix in WEIGHTS]
    if not weights or any(len(Path(member.name).parts) != 1 for member in weights):
        raise Unfit(
            f"found {', '.join(member.name for member in found) or 'nothing'}, expected weights on the top level"
        )
    return [
        f"{path.stat().st_size / 1e6:.1f} MB",
        *(f"{member.name} ({member.size / 1e6:.1f} MB)" for member in weights),
    ]


def _members(path: Path) -> dict[str, Member]:
    """Read the archive once, from beginning to end; links share what they point to."""
    members: dict[str, Member] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if entry.issym():
                    links[name] = _joined(Path(name).parent / entry.linkname)
                elif entry.islnk():
                    links[name] = entry.linkname.removeprefix("./")
                elif entry.isfile():
                    file = archive.extractfile(entry)
                    assert file is not None
                    members[name] = _digested(file, keep=entry.size <= TEXT_BYTES)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Unfit(f"not a readable archive ({error})") from error
    members.update({name: members[target] for name, target in links.items() if target in members})
    return members


def _digested(file: IO[bytes], *, keep: bool) -> Member:
    plain, unpacked, content = hashlib.sha256(), hashlib.sha256(), b""
    unpack, packing = None, ""
    for number, block in enumerate(_blocks(file)):
        if number == 0:
            unpack = Gunzip() if block.startswith(GZIP) else None
            packing = next((name for magic, name in OTHER_PACKINGS.items() if block.startswith(magic)), "")
        plain.update(block)
        for part in unpack(block) if unpack else (block,):
            unpacked.update(part)
        content += block if keep else b""
    return Member(plain.hexdigest(), unpacked.hexdigest(), content if keep else None, packing)


class Gunzip:
    """Unpacks gzip block by block; it may be of several members, as parallel and seekable writers make it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP_ONLY)

    def __call__(self, block: bytes) -> Iterator[bytes]:
        """Give what a block holds."""
        while block:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_ONLY)
            yield self._member.decompress(block)
            block = self._member.unused_data


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _image(members: dict[str, Member]) -> tuple[dict[str, Any], list[Member]]:
    """Return configuration and layers of the one image that the manifest names."""
    manifest = _json(members, "manifest.json")
    if not isinstance(manifest, list) or len(manifest) != 1:
        count = len(manifest) if isinstance(manifest, list) else "no list of"
        raise Unfit(f"manifest.json holds {count} images, expected one")
    (image,) = manifest
    name = image["Config"]
    config = _json(members, name)
    if Path(name).stem != members[name].digest:  # <sha256>.json, or blobs/sha256/<sha256>
        raise Unfit(f"the configuration's sha256 is {members[name].digest}, its name says {Path(name).stem}")
    missing = [layer for layer in image["Layers"] if layer not in members]
    if missing:
        raise Unfit(f"{len(missing)} of {len(image['Layers'])} layers are missing, the first is {missing[0]}")
    return config, [members[layer] for layer in image["Layers"]]


def _check_layers(config: dict[str, Any], layers: list[Member]) -> None:
    packings = sorted({layer.packing for layer in layers} - {""})
    if packings:
        raise Unfit(f"layers are compressed with {', '.join(packings)}, expected gzip or none: build and save them so")
    wanted = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
    found = [layer.unpacked_digest for layer in layers]
    if wanted != found:
        wrong = sum(a != b for a, b in zip(wanted, found, strict=False)) + abs(len(wanted) - len(found))
        raise Unfit(f"{wrong} layer(s) do not have the sha256 that the configuration names; export again")


def _check_config(config: dict[str, Any]) -> list[str]:
    image = Image.of("", f"{config.get('os')}/{config.get('architecture')}", config.get("config") or {})
    checks = judge_config(image)
    wrong = [check for check in checks if not check.holds]
    if wrong:
        raise Unfit("; ".join(f"{check.name}: {check.found}" for check in wrong))
    return [f"{check.name.removeprefix('image ')} {check.found}" for check in checks]


def _json(members: dict[str, Member], name: str) -> Any:
    content = members[name].content if name in members else None
    try:
        return json.loads(content or b"")
    except ValueError as error:
        raise Unfit(f"{name} is missing or no JSON") from error


def _joined(path: Path) -> str:
    """Resolve the `..` of a link inside an archive."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)


def _leads_out(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files named on the command line; return the exit code."""
    code = 0
    for name in sys.argv[1:] if arguments is None else arguments:
        path = Path(name)
        try:
            found = check_model(path) if path.name == "model.tar.gz" else check_image(path)
        except (Unfit, OSError, KeyError, TypeError, gzip.BadGzipFile) as error:
            print(f"{path}: {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{path}\n    {', '.join(found)}\n    sha256 {sha256(path)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
