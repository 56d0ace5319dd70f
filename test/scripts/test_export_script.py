"""`export.sh` with fake container engines."""

from __future__ import annotations

import tarfile

from clones import saved
from image_archives import configured


def test_export_writes_both_files_and_says_what_is_next(clone):
    saved(clone)
    done = clone.run("export.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one image of 2 layers, user 10001:10001, architecture linux/amd64" in done.stdout
    assert "upload a container: dist/swfastedit-1.2.3.tar.gz" in done.stdout
    assert sorted(path.name for path in (clone.top / "dist").iterdir()) == ["model.tar.gz", "swfastedit-1.2.3.tar.gz"]
    with tarfile.open(clone.top / "dist/model.tar.gz") as tar:
        assert [(member.name, member.uid, oct(member.mode)) for member in tar] == [("one.safetensors", 0, "0o644")]


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
