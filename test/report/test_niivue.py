from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from clones import put

from swfastedit_core.errors import UserError
from swfastedit_core.report.__main__ import main
from swfastedit_core.report.page import niivue

CODE = b"const niivue = {};\n"
NPM = """#!/bin/sh
[ -z "$(ls -A)" ] || exit 9
echo "$*" >"{top}/asked"
cp "{top}/package.tgz" niivue.tgz
"""


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Let a program stand for npm: it writes a package with the file into its working directory."""
    put(tmp_path / "bin/npm", NPM.format(top=tmp_path))
    write_package(tmp_path, niivue.MEMBER, CODE)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(niivue, "SHA256", hashlib.sha256(CODE).hexdigest())
    return tmp_path


def write_package(top, name, content):
    with tarfile.open(top / "package.tgz", "w:gz") as package:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        package.addfile(member, io.BytesIO(content))


def test_the_file_is_fetched_once(npm):
    path = niivue.fetch()
    assert path == npm / f"cache/swfastedit/niivue-{niivue.VERSION}/niivue.umd.js"
    assert niivue.read() == CODE.decode()
    assert (npm / "asked").read_text() == f"pack --ignore-scripts --loglevel=error @niivue/niivue@{niivue.VERSION}\n"
    (npm / "asked").unlink()
    assert niivue.fetch() == path
    assert not (npm / "asked").exists()


def test_a_damaged_file_is_refused_and_fetched_again(npm):
    path = niivue.fetch()
    path.write_bytes(CODE[:-1])
    with pytest.raises(UserError, match=r"niivue\.umd\.js: has the SHA-256 .*; run: python -m .* fetch-viewer"):
        niivue.read()
    niivue.fetch()
    assert niivue.read() == CODE.decode()


def test_another_file_in_the_package_is_refused(npm):
    write_package(npm, niivue.MEMBER, b"alert()")
    with pytest.raises(UserError, match=r"^package/dist/niivue\.umd\.js of npm's package: has the SHA-256"):
        niivue.fetch()
    assert not (npm / "cache").exists()


def test_a_package_without_the_file_is_refused(npm):
    write_package(npm, "package/else.js", CODE)
    with pytest.raises(UserError, match="cannot be read from the package"):
        niivue.fetch()


def test_a_package_that_is_no_archive_is_refused(npm):
    (npm / "package.tgz").write_bytes(b"<html>")
    with pytest.raises(UserError, match="cannot be read from the package"):
        niivue.fetch()


def test_the_reason_of_npm_is_said(npm):
    put(npm / "bin/npm", "#!/bin/sh\necho 'npm error code E404\nnpm error 404 Not Found' >&2\nexit 1\n")
    with pytest.raises(UserError, match=rf"^npm pack @niivue/niivue@{niivue.VERSION} failed: 404 Not Found$"):
        niivue.fetch()


def test_npm_that_does_not_answer(npm, monkeypatch):
    monkeypatch.setattr(niivue, "SECONDS", 0.1)
    put(npm / "bin/npm", "#!/bin/sh\nexec sleep 20\n")
    with pytest.raises(UserError, match=r"no answer within 0\.1 s"):
        niivue.fetch()


def test_without_npm_the_file_can_be_put_there(npm, monkeypatch):
    monkeypatch.setenv("PATH", str(npm / "nowhere"))
    with pytest.raises(
        UserError, match=r"npm is not installed: .* put dist/niivue\.umd\.js of .* at (\S+)$"
    ) as failure:
        niivue.fetch()
    path = Path(str(failure.value).rpartition(" at ")[2])
    path.parent.mkdir(parents=True)
    path.write_bytes(CODE)
    assert niivue.read() == CODE.decode()


def test_a_cache_folder_that_cannot_be_written(npm):
    (npm / "cache").write_text("")
    with pytest.raises(UserError, match=r"cannot be written \(.*\); set XDG_CACHE_HOME to another folder"):
        niivue.fetch()


def test_a_relative_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    with pytest.raises(UserError, match="cache: the cache folder is no absolute path"):
        niivue.read()


def test_the_command_fetches_the_file(npm, capfd):
    assert main(["fetch-viewer"]) == 0
    assert capfd.readouterr().out == f"{niivue.cached_file()}: NiiVue {niivue.VERSION}\n"
    assert niivue.read() == CODE.decode()
    assert niivue.COMMAND == "python -m swfastedit_core.report fetch-viewer"


def test_a_report_with_a_viewer_is_refused_at_once_without_the_file(npm, capfd):
    options = ["--pet", "none.mha", "--mask", "none.mha", "--output", str(npm / "out")]
    assert main([*options, "--viewer"]) == 1
    assert capfd.readouterr().err.endswith(f"is not there; run once: {niivue.COMMAND}\n")
    niivue.fetch()
    assert main([*options, "--viewer"]) == 1
    assert "none.mha" in capfd.readouterr().err


def test_more_words_after_fetch_viewer_are_refused(npm, capfd):
    assert main(["fetch-viewer", "now"]) == 1
    assert capfd.readouterr().err == f"unrecognized arguments: now; see {niivue.COMMAND} --help\n"
    assert not (npm / "asked").exists()
