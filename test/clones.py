"""A copy of the repository for tests of its scripts, with stand-ins for Docker, podman and the tools."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys

from environment import read_requirements
from image_archives import image_archive
from places import ROOT

COPIED = ("run.sh", "build.sh", "test.sh", "export.sh", ".ci", "Dockerfile", ".dockerignore", "LICENSE", "process.py")
COPIED += ("requirements.txt", "pyproject.toml", "test/trial")
SETTINGS = (
    "CONTAINER_ENGINE",
    "BASE_IMAGE",
    "API_METHOD",
    "OPTIONS",
    "SOURCE",
    "CONTAINER_BUILD_FLAGS",
    "IMAGE",
    "SWFASTEDIT_VENV",
)
# What it answers lies in files beside it; it writes down what it was asked.
ENGINE = r"""#!/usr/bin/env bash
here=$(dirname "${BASH_SOURCE[0]}")
printf '%s\n' "$@" >>"$here/${0##*/}.log"
case "$*" in
info) [ -f "$here/${0##*/}.answers" ] ;;
"image inspect"*Size*) echo 123456789 ;;
"image inspect"*api-method*) cat "$here/labels" ;;
"image inspect"*) cat "$here/content" 2>/dev/null ;;
save*) cat "$here/image.tar" ;;
esac
"""
TOOL = r"""#!/usr/bin/env bash
echo "${0##*/} $*" >>"$(dirname "$0")/log"
[ -z "$TRIAL_IMAGE" ] || echo "TRIAL_ENGINE=$TRIAL_ENGINE TRIAL_IMAGE=$TRIAL_IMAGE" >>"$(dirname "$0")/log"
"""
NO_ENGINE = "neither Docker nor podman runs: install and start one, or set CONTAINER_ENGINE\n"


class Clone:
    """A copy of the repository, and engines beside it. No engine answers before `answers` is called."""

    def __init__(self, top):
        self.top, self.bin, self.venv = top / "clone", top / "bin", top / "venv"
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.top / name)
        (self.top / "swfastedit_core").mkdir()
        (self.top / "swfastedit_core/__init__.py").write_text('__version__ = "1.2.3"\n')
        (self.top / "weights").mkdir()
        (self.top / "weights/one.safetensors").write_bytes(b"weights")
        for tool in (self.bin / "docker", self.bin / "podman"):
            put(tool, ENGINE)
        for name in ("python", "ruff", "mypy", "lint-imports"):
            put(self.venv / "bin" / name, TOOL)
        (self.venv / "installed.txt").write_text("\n".join(read_requirements(self.top, ["dev"])))
        (self.venv / ".swfastedit").touch()

    def answers(self, engine):
        """Let an engine answer, with the image that belongs to these files."""
        (self.bin / f"{engine}.answers").touch()
        (self.bin / "content").write_text(self.content() + "\n")
        (self.bin / "labels").write_text(f"exec {self.content()}\n")

    def content(self):
        return self.ask(".ci/image.sh", 'describe_image .; echo "$CONTENT_DIGEST"').strip()

    def ask(self, file, command):
        return self._bash("-c", f"source {file}; {command}").stdout

    def run(self, script, *arguments, **settings):
        return self._bash(script, *arguments, **settings)

    def asked(self, engine):
        """Return all that an engine was asked, word by word."""
        log = self.bin / f"{engine}.log"
        return log.read_text().splitlines() if log.is_file() else []

    def tools(self):
        return (self.venv / "bin/log").read_text().splitlines()

    def _bash(self, *command, **settings):
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        kept |= {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "SWFASTEDIT_VENV": str(self.venv),
        }
        return subprocess.run(
            ["bash", *command], cwd=self.top, env=kept | settings, capture_output=True, text=True, check=False
        )


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def saved(clone, **change):
    """Let the engine save an image, packed as Docker does: not at all."""
    clone.answers("docker")
    packed = image_archive(clone.bin / "image.tar.gz", blobs=True, **change)
    (clone.bin / "image.tar").write_bytes(gzip.decompress(packed.read_bytes()))
