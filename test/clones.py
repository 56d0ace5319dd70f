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
# Keeps a file for each image tag, with what `read_image` asks for. It writes down what it was asked. Files beside it
# change what it does: `stale` holds an image that a build takes from a cache; `hook` runs before each command.
ENGINE = r"""#!/usr/bin/env bash
here=$(dirname "${BASH_SOURCE[0]}") tags=$(dirname "${BASH_SOURCE[0]}")/tags
printf '%s\n' "$@" >>"$here/${0##*/}.log"
[ ! -f "$here/hook" ] || source "$here/hook"
argument() { for word in "${words[@]}"; do [ "${word%%=*}" != "$1" ] || echo "${word#*=}"; done; }
words=("$@") last=${*: -1}
case "$*" in
info) [ -f "$here/${0##*/}.answers" ] ;;
build*)
    method=$(argument API_METHOD)
    printf '%s\n' "$(argument CONTENT_DIGEST)" "$method" "PATH=/bin" \
        "SWFASTEDIT_OPTIONS=--api-method $method --host 0.0.0.0 $(argument OPTIONS)" >"$here/built"
    [ ! -f "$here/stale" ] || cp "$here/stale" "$here/built"
    for number in "${!words[@]}"; do
        [ "${words[number]}" != --tag ] || cp "$here/built" "$tags/${words[number+1]}"
    done
    ;;
"image inspect"*Size*) [ -f "$tags/$last" ] && echo 123456789 ;;
"image inspect"*) cat "$tags/$last" ;;
tag*) cp "$tags/$2" "$tags/$3" ;;
rmi*) rm "$tags/$last" ;;
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
        (self.bin / "tags").mkdir()
        for name in ("python", "ruff", "mypy", "lint-imports"):
            put(self.venv / "bin" / name, TOOL)
        (self.venv / "installed.txt").write_text("\n".join(read_requirements(self.top, ["dev"])))
        (self.venv / ".swfastedit").touch()

    def answers(self, engine):
        """Let an engine answer, with an image of these files under the name of latest."""
        (self.bin / f"{engine}.answers").touch()
        self.put_image("swfastedit:latest")

    def put_image(self, tag, *, digest="", method="exec", options=""):
        """Give the engines an image; its digest is that of these files, method and options, unless one is given."""
        environment = f"SWFASTEDIT_OPTIONS=--api-method {method} --host 0.0.0.0 {options}"
        lines = [digest or self.content(method, options), method, environment]
        (self.bin / "tags" / tag).write_text("\n".join(lines) + "\n")

    def tags(self):
        return sorted(path.name for path in (self.bin / "tags").iterdir())

    def content(self, method="exec", options=""):
        digest = f'describe_image .; content_digest {method} "$(image_options {method} "{options}")"'
        return self.ask(".ci/image.sh", digest).strip()

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

    def environment(self, **settings):
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        path = f"{self.bin}:{os.environ['PATH']}"
        return {**kept, "PATH": path, "PYTHON": sys.executable, "SWFASTEDIT_VENV": str(self.venv), **settings}

    def _bash(self, *command, **settings):
        env = self.environment(**settings)
        return subprocess.run(["bash", *command], cwd=self.top, env=env, capture_output=True, text=True, check=False)


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def saved(clone, **change):
    """Let the engine save an image, packed as Docker does: not at all."""
    clone.answers("docker")
    packed = image_archive(clone.bin / "image.tar.gz", blobs=True, **change)
    (clone.bin / "image.tar").write_bytes(gzip.decompress(packed.read_bytes()))
