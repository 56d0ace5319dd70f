"""Files that replace their target in one step."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from places import ROOT

from swfastedit_core.system.atomic import ABANDONED_SECONDS, replacing

WRITER = """
import sys, time
from pathlib import Path
from swfastedit_core.system.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes half of a file and waits; return it and its temporary file, which looks old."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "mask [1].mha")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    temporary = tmp_path / os.path.basename(process.stdout.readline().strip())  # noqa: PTH119
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    os.utime(temporary, times=(long_ago, long_ago))
    yield process, temporary
    process.kill()
    process.wait()


def write(path):
    with replacing(path) as temporary:
        temporary.write_text("whole")


def test_what_a_killed_writer_left_is_removed_by_the_next_one(writer, tmp_path):
    process, temporary = writer
    process.kill()
    process.wait()
    write(tmp_path / "another.mha")
    assert temporary.exists()  # it belongs to another target
    write(tmp_path / "mask [1].mha")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another.mha", "mask [1].mha"]


def test_file_of_a_running_writer_stays(writer, tmp_path):
    _, temporary = writer
    write(tmp_path / "mask [1].mha")
    assert temporary.read_text() == "half"


def test_new_file_stays_for_its_writer_may_be_about_to_lock_it(tmp_path):
    new = tmp_path / ".1-0123abcd.mask.mha"
    new.touch()
    write(tmp_path / "mask.mha")
    assert new.exists()


def test_failed_writing_leaves_the_old_file(tmp_path):
    write(tmp_path / "mask.mha")

    def fail():
        with replacing(tmp_path / "mask.mha") as temporary:
            temporary.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
