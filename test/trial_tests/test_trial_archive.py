from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile

import pytest
from image_archives import CONFIG, LABELS, configured, image_archive
from trial import archive


def gzip_in_members(content):
    """Compress as parallel writers do: one gzip member after the other."""
    return b"".join(gzip.compress(content[begin : begin + 700]) for begin in range(0, len(content), 700))


def as_zstd(content):
    """Write the first bytes of a zstd frame, by which it is recognised."""
    return b"\x28\xb5\x2f\xfd" + content


@pytest.mark.parametrize("blobs", [False, True])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, gzip_in_members])
@pytest.mark.parametrize("block", [archive.BLOCK_BYTES, 100, 7])
def test_right_image_archive_of_either_layout_passes(blobs, pack, block, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "BLOCK_BYTES", block)  # gzip members may begin anywhere in a block
    found = archive.check_image_archive(image_archive(tmp_path / "x.tar.gz", blobs=blobs, pack=pack))
    assert found[1:] == [
        "one image of 2 layers",
        "user 10001:10001",
        "architecture linux/amd64",
        "api-method invoke",
        "entrypoint python",
        "options --api-method invoke --task autopet4",
        "labels title swfastedit, version 1.2.3, revision abc, licenses Apache-2.0, source unknown",
    ]


@pytest.mark.parametrize(
    ("pack", "name"), [(as_zstd, "zstd"), (lzma.compress, "xz"), (bz2.compress, "bzip2")], ids=["zstd", "xz", "bzip2"]
)
def test_other_compression_is_refused_by_name(pack, name, tmp_path):
    with pytest.raises(archive.ArchiveError, match=f"^layers are compressed with {name}, expected gzip or none"):
        archive.check_image_archive(image_archive(tmp_path / "x.tar.gz", blobs=True, pack=pack))


def test_linked_layers_are_followed(tmp_path):
    plain = image_archive(tmp_path / "plain.tar.gz")
    with tarfile.open(plain) as old, tarfile.open(tmp_path / "x.tar.gz", "w:gz") as new:
        for member in old.getmembers():
            file = old.extractfile(member)
            if member.name.endswith("/layer.tar"):
                link = tarfile.TarInfo(member.name)
                link.type, link.linkname = tarfile.SYMTYPE, f"../{member.name.split('/')[0]}.tar"
                new.addfile(link)
                member.name = f"{member.name.split('/')[0]}.tar"
            new.addfile(member, file)
    assert "one image of 2 layers" in archive.check_image_archive(tmp_path / "x.tar.gz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": 2}, "manifest.json holds 2 images, expected one"),
        ({"images": 0}, "manifest.json holds 0 images, expected one"),
        ({"spoil": "config"}, "the configuration's sha256 is"),
        ({"spoil": "layer"}, "1 layer(s) do not have the sha256"),
        ({"spoil": "missing"}, "1 of 2 layers are missing"),
        (
            {"config": {**CONFIG, "architecture": "arm64"}},
            "image architecture: linux/arm64, expected linux/amd64",
        ),
        (configured(User=None), "image user: not set, expected one that is not root"),
        (configured(User="0:5"), "image user: 0:5, expected one that is not root"),
        (configured(User="my-user"), "image user: my-user, expected letters and digits only, as in 10001:10001"),
        (
            configured(Env=["SWFASTEDIT_OPTIONS=--api-method exec"]),
            "image options: --api-method exec, expected --api-method invoke as in the label",
        ),
        (configured(Entrypoint=None), "image entrypoint: none, and no command"),
        (
            configured(Labels={**LABELS, "org.grand-challenge.api-method": "http"}),
            "image api-method: http, expected exec or invoke",
        ),
        (
            configured(Labels=None),
            "image labels: no org.opencontainers.image.title, version, revision, licenses, source: build with",
        ),
    ],
)
def test_image_that_the_platform_refuses_is_refused(change, words, tmp_path):
    with pytest.raises(archive.ArchiveError) as caught:
        archive.check_image_archive(image_archive(tmp_path / "x.tar.gz", **change))
    assert words in str(caught.value)


def test_damaged_archives_are_refused(tmp_path, capsys):
    path = image_archive(tmp_path / "x.tar.gz")
    path.write_bytes(path.read_bytes()[:-200])
    assert archive.main([str(path)]) == 1
    assert "not a readable archive" in capsys.readouterr().err
    path.write_bytes(b"hello")
    assert archive.main([str(path)]) == 1
    assert "not a readable archive" in capsys.readouterr().err
    assert archive.main([str(tmp_path / "none.tar.gz")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_image_above_the_platforms_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    with pytest.raises(archive.ArchiveError, match="GB, the platform takes 0 GB at most"):
        archive.check_image_archive(image_archive(tmp_path / "x.tar.gz"))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["0.safetensors", "1.pt"], None),
        (["folder/0.safetensors"], "expected weights at the top level"),
        (["README.md"], "expected weights at the top level"),
        ([], "found nothing"),
        (["../0.safetensors"], "expected plain files with relative names"),
        (["/0.safetensors"], "expected plain files with relative names"),
    ],
)
def test_model_tarball_needs_weights_at_its_top_level(names, words, tmp_path):
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    if words is None:
        assert archive.check_model_archive(path)[1:] == ["0.safetensors (0.0 MB)", "1.pt (0.0 MB)"]
        return
    with pytest.raises(archive.ArchiveError, match=words):
        archive.check_model_archive(path)
