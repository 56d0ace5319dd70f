"""`export.sh` with fake container engines."""

from __future__ import annotations

import os
import sys
import tarfile

import pytest
from clones import put, saved
from image_archives import configured
from trial.archive import sha256


def test_export_writes_both_files_and_says_what_is_next(clone):
    saved(clone)
    done = clone.run("export.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "saving swfastedit:latest, built with --api-method exec --host 0.0.0.0; this takes minutes\n"
    )
    assert "one image of 2 layers, user 10001:10001, architecture linux/amd64" in done.stdout
    assert "options --api-method invoke --task autopet4" in done.stdout  # of the archive
    assert "upload a container: dist/swfastedit-1.2.3.tar.gz" in done.stdout
    assert sorted(path.name for path in (clone.top / "dist").iterdir()) == ["model.tar.gz", "swfastedit-1.2.3.tar.gz"]
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert [(member.name, member.uid, oct(member.mode)) for member in tar] == [("one.safetensors", 0, "0o644")]


# As older versions of gzip and pigz do, it stores the time unless told not to.
COMPRESS = r"""#!/usr/bin/env bash
exec {python} -c '
import gzip, sys, time
time_ns = 0 if "-n" in sys.argv else time.time_ns() % 2**32
sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read(), mtime=time_ns))' "$@"
"""


@pytest.mark.parametrize("tool", ["gzip", "pigz"])
def test_two_exports_of_the_same_files_are_the_same_bytes(tool, clone):
    saved(clone)
    put(clone.bin / tool, COMPRESS.replace("{python}", sys.executable))
    weights = clone.top / "weights"
    (weights / "two.pt").write_bytes(b"more weights")
    (weights / ".hidden.pt").write_bytes(b"not weights")
    digests = []
    for seconds, mode in ((1e9, 0o644), (2e9, 0o600)):
        for path in (weights / "one.safetensors", weights / "two.pt", clone.bin / "image.tar"):
            os.utime(path, (seconds, seconds))
            path.chmod(mode)
        clone.answers("docker")
        done = clone.run("export.sh", TZ="UTC" if mode == 0o600 else "Asia/Tokyo")
        assert (done.returncode, done.stderr) == (0, "")
        digests.append({path.name: sha256(path) for path in (clone.top / "dist").iterdir()})
        for path in (clone.top / "dist").iterdir():
            assert path.read_bytes()[:8] == b"\x1f\x8b\x08\0\0\0\0\0"  # neither name nor time
    assert digests[0] == digests[1]
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert [(m.name, m.size, m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar] == [
            ("one.safetensors", 7, 0, 0, 0, "", 0o644),
            ("two.pt", 12, 0, 0, 0, "", 0o644),
        ]


def test_export_leaves_nothing_where_the_upload_would_be_refused(clone):
    saved(clone, **configured(User="my-user"))
    done = clone.run("export.sh")
    assert done.returncode == 1
    assert done.stderr == (
        "swfastedit-1.2.3.tar.gz: image user: my-user, expected letters and digits only, as in 10001:10001\n"
    )
    assert list((clone.top / "dist").iterdir()) == []


def test_weights_in_a_folder_of_their_own_are_packed_on_the_top_level(clone):
    (clone.top / "weights/fold0").mkdir()
    (clone.top / "weights/one.safetensors").rename(clone.top / "weights/fold0/one.safetensors")
    saved(clone)
    assert clone.run("export.sh").returncode == 0
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert tar.getnames() == ["one.safetensors"]
