"""`run.sh` in a copy of the repository."""

from __future__ import annotations


def test_run_finds_the_clone_through_a_link(clone, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(clone.top / "run.sh")
    done = clone.run(str(link), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.tools() == [f"python {clone.top}/process.py --help"]
