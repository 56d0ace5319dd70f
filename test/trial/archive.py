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

LARGEST_BYTES = 10 * 10**9  # grand-challenge.org's COMPONENTS_MAXIMUM_IMAGE_SIZE, taken as decimal
API_METHODS = ("exec", "invoke")
WEIGHTS = (".safetensors", ".pt")
TEXT_BYTES = 4 * 2**20  # manifest and configuration are far smaller, layers far larger
BLOCK = 4 * 2**20


class Unfit(Exception):  # noqa: N818 - it says what an upload is
    """The platform would refuse this file; one line says why."""


@dataclass(frozen=True)
class Member:
    """A file of an archive: digests of its bytes as they are and unpacked, and its content if it is small."""

    digest: str
    unpacked_digest: str
    content: bytes | None


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
    unpack = None
    for number, block in enumerate(_blocks(file)):
        if number == 0 and block.startswith(b"\x1f\x8b"):
            unpack = zlib.decompressobj(zlib.MAX_WBITS + 16)
        plain.update(block)
        unpacked.update(unpack.decompress(block) if unpack else block)
        content += block if keep else b""
    return Member(plain.hexdigest(), unpacked.hexdigest(), content if keep else None)


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
    wanted = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
    found = [layer.unpacked_digest for layer in layers]
    if wanted != found:
        wrong = sum(a != b for a, b in zip(wanted, found, strict=False)) + abs(len(wanted) - len(found))
        raise Unfit(f"{wrong} layer(s) do not have the sha256 that the configuration names; export again")


def _check_config(config: dict[str, Any]) -> list[str]:
    inner = config.get("config") or {}
    platform = f"{config.get('os')}/{config.get('architecture')}"
    if platform != "linux/amd64":
        raise Unfit(f"built for {platform}, expected linux/amd64: build with --platform linux/amd64")
    user = str(inner.get("User") or "")
    if user.split(":")[0] in ("", "0", "root"):
        raise Unfit(f"its user is {user or 'not set'}, expected one that is not root")
    labels = inner.get("Labels") or {}
    method = labels.get("org.grand-challenge.api-method", "exec")
    if method not in API_METHODS:
        raise Unfit(f"its label org.grand-challenge.api-method is {method}, expected {' or '.join(API_METHODS)}")
    if not (inner.get("Entrypoint") or inner.get("Cmd")):
        raise Unfit("it has neither entrypoint nor command")
    version = labels.get("org.opencontainers.image.version", "unknown")
    revision = labels.get("org.opencontainers.image.revision", "unknown")
    return [platform, f"user {user}", f"api-method {method}", f"version {version}", f"revision {revision}"]


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
