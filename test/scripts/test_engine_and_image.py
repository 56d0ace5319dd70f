"""What several scripts ask of the container engine, the image, the weights and their arguments."""

from __future__ import annotations

import pytest
from clones import NO_ENGINE, saved


@pytest.mark.parametrize("command", [("build.sh",), ("test.sh", "--container"), ("export.sh",)])
def test_no_engine_is_said_in_one_line(command, clone):
    done = clone.run(*command)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", NO_ENGINE)


@pytest.mark.parametrize("command", [("build.sh",), ("test.sh",), ("test.sh", "--container"), ("export.sh",)])
@pytest.mark.parametrize("named", ["podmann", "podman"])  # not installed, not started
def test_engine_that_is_named_has_to_answer(command, named, clone):
    clone.answers("docker")
    done = clone.run(*command, CONTAINER_ENGINE=named)
    reason = f"CONTAINER_ENGINE={named} does not run: is it installed, and is its service started?\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    assert clone.asked("docker") == []


@pytest.mark.parametrize("arguments", [("test.sh",), ("test.sh", "--container"), ("export.sh",)])
def test_image_has_to_be_there_and_of_these_files(arguments, clone):
    clone.answers("docker")
    (clone.top / "weights/one.safetensors").write_bytes(b"other")
    done = clone.run(*arguments)
    reason = "the image swfastedit:latest was not built from the files in this folder: run ./build.sh again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    done = clone.run(*arguments, IMAGE="mine:1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no image mine:1: run ./build.sh first\n")


@pytest.mark.parametrize("arguments", [("test.sh", "--container"), ("export.sh",)])
def test_image_has_to_be_built_with_the_options_of_the_environment(arguments, clone):
    clone.answers("docker")
    clone.put_image("swfastedit:latest", method="invoke", options="--task autopet4")
    built = "the image swfastedit:latest was built with '--api-method invoke --host 0.0.0.0 --task autopet4'"
    for settings, wanted in (
        ({"OPTIONS": "--vote"}, "--api-method invoke --host 0.0.0.0 --vote"),
        ({"OPTIONS": ""}, "--api-method invoke --host 0.0.0.0 "),
        ({"API_METHOD": "exec"}, "--api-method exec --host 0.0.0.0 --task autopet4"),
    ):
        done = clone.run(*arguments, **settings)
        reason = f"{built}, expected '{wanted}': run ./build.sh again\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    done = clone.run("-euc", "source .ci/image.sh; find_engine; describe_image .; require_image")
    assert (done.returncode, done.stderr) == (0, "")
    done = clone.run("-euc", "source .ci/image.sh; find_engine; describe_image .; require_image", API_METHOD="invoke")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "change",
    [("--task autopet4", "--task autopet2"), ("autopet4", "autopet4 --vote"), ("\ninvoke\n", "\nexec\n")],
)
def test_image_whose_options_were_changed_after_its_build_is_not_taken_for_the_same(change, clone):
    clone.answers("docker")
    clone.put_image("swfastedit:latest", method="invoke", options="--task autopet4")
    image = clone.bin / "tags/swfastedit:latest"
    image.write_text(image.read_text().replace(*change))
    done = clone.run("export.sh")
    reason = "the image swfastedit:latest was not built from the files in this folder: run ./build.sh again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)


def no_weights(weights):
    (weights / "one.safetensors").unlink()
    return f"{weights}: no weights, expected .safetensors, .pt, .pth or .ckpt files"


def linked_weights(weights):
    (weights / "mine.safetensors").symlink_to("one.safetensors")
    return (
        f"{weights}/mine.safetensors: is a link or a special file, expected a regular file; "
        "copy the weights into this folder"
    )


def scattered_weights(weights):
    (weights / "fold 0").mkdir()
    (weights / "fold 0/mine.pt").touch()
    return f"{weights}: weights in several folders ({weights}, {weights}/fold 0), expected one"


@pytest.mark.parametrize("script", ["build.sh", "export.sh"])
@pytest.mark.parametrize("spoil", [no_weights, linked_weights, scattered_weights])
def test_weights_that_the_image_would_not_have_are_refused_at_once(script, spoil, clone):
    reason = spoil(clone.top / "weights")
    saved(clone)
    done = clone.run(script)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{reason}\n")
    assert clone.asked("docker") == ["info"]
    assert not (clone.top / "dist").exists()


@pytest.mark.parametrize("script", ["build.sh", "export.sh"])
def test_arguments_are_refused_and_help_is_given(script, clone):
    clone.answers("docker")
    done = clone.run(script, "--task", "autopet4")
    reason = f"--task: {script} takes no arguments; set environment variables instead, see {script} --help\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", reason)
    done = clone.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("Build the algorithm's image", "Write the files for upload"))
    assert clone.asked("docker") == []
