"""`make images`, with a builder that only writes down what it is asked."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.conftest import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with the few programs the script needs, and no builder yet."""
    for name in ("bash", "dirname", "sed"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    return tmp_path


def pretend(path: Path, builder: str) -> None:
    (path / builder).write_text(f'#!/bin/sh\n[ "$1" = info ] || echo {builder} "$@"\n')
    (path / builder).chmod(0o755)


def images(path: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: v for name, v in os.environ.items() if not name.startswith("CAPTIONFLEET_")}
    return subprocess.run(
        ["/usr/bin/bash", str(ROOT / "scripts/images"), *arguments],
        env={**clean, "PATH": str(path), **variables},
        capture_output=True, text=True,
    )  # fmt: skip


def asked(done: "subprocess.CompletedProcess[str]") -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("images:")]


def test_both_images_carry_the_projects_version(path: Path) -> None:
    pretend(path, "docker")
    assert asked(images(path)) == [
        f"docker build --tag captionfleet/captionfleet:{VERSION} --file Dockerfile .",
        f"docker build --tag captionfleet/worker:{VERSION} --file Dockerfile.worker .",
    ]


def test_prefix_tag_and_flags_are_for_people_to_choose(path: Path) -> None:
    pretend(path, "podman")
    done = images(path, "worker", "--", "--build-arg", "BASE=mine",
                  CAPTIONFLEET_IMAGE_PREFIX="host/team", CAPTIONFLEET_IMAGE_TAG="7")  # fmt: skip
    assert asked(done) == [
        "podman build --layers --tag host/team/worker:7 --file Dockerfile.worker "
        "--build-arg BASE=mine ."
    ]


def test_without_a_builder_it_says_what_to_install(path: Path) -> None:
    done = images(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install docker, podman or buildah" in done.stderr


def test_an_image_that_is_none_of_ours_is_refused(path: Path) -> None:
    pretend(path, "buildah")
    done = images(path, "server")
    assert done.returncode == 2
    assert "there are worker and captionfleet, not server" in done.stderr
