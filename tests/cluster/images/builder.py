"""Builds images with buildah: no daemon, no registry, its layers kept from run to run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.images.places import Places

_CERTIFICATES = "/etc/ssl/certs"
_UV_CACHE = "/root/.cache/uv"
_FROM_PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout")
"""What of this machine's pip configuration holds inside a build too."""


class BuildFailed(Exception):
    """The message holds the end of the builder's output."""


@dataclass(frozen=True)
class Recipe:
    """One image: its name as a pod writes it, and what it is built from."""

    name: str
    file: Path
    context: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    """Changes whenever the image does. Without one the builder looks into the context each time."""

    @property
    def stored(self) -> str:
        """Its name in the builder's store."""
        repository, _, tag = self.name.partition(":")
        return f"localhost/{repository}:{self.key or tag}"


@dataclass(frozen=True)
class Blob:
    """A part of an image, by its digest."""

    digest: str
    size: int
    source: tuple[str, ...]
    """The command that prints it."""


@dataclass(frozen=True)
class Built:
    """An image in the builder's store."""

    name: str
    manifest: bytes
    config: Blob
    layers: tuple[Blob, ...]


class Builder:
    """Buildah with a store of its own below `places`."""

    def __init__(self, places: Places) -> None:
        folders = (str(places.buildah), str(places.work / "run"))
        driver = ("--storage-driver", "overlay")
        self._builder = apart("buildah", "--root", folders[0], "--runroot", folders[1], *driver)
        self._reader = apart(
            "containers-storage", "--graph", folders[0], "--run", folders[1], *driver
        )
        self._environment = {**os.environ, "TMPDIR": str(places.work)}
        self._machine = _machine_configuration(places.work)
        self._buildah("rm", "--all")  # what a build that was killed left

    def build(self, recipe: Recipe) -> Built:
        if not (recipe.key and recipe.stored in self._names()):
            arguments = {"UV_NO_CACHE": "0", **recipe.arguments}
            self._buildah(
                "bud", "--isolation=chroot", "--layers", "--pull-never",
                "--quiet", "--format=oci", *self._machine,
                *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                f"--tag={recipe.stored}", f"--file={recipe.file}", str(recipe.context),
            )  # fmt: skip
        return self._read(recipe)

    def keep_only(self, recipes: Iterable[Recipe]) -> None:
        """Drop all other images, and layers that none uses any more."""
        if others := self._names() - {recipe.stored for recipe in recipes}:
            self._buildah("rmi", *others)
        self._buildah("rmi", "--prune")

    def _names(self) -> set[str]:
        listed = json.loads(self._run(*self._reader, "images", "--json")) or []
        return {name for image in listed for name in image.get("names", ())}

    def _read(self, recipe: Recipe) -> Built:
        """Its parts as they lie in the store: not compressed, so the manifest tells their names."""
        manifest = self._run(*self._reader, "get-image-data", recipe.stored, "manifest")
        layers = {
            each["diff-digest"]: each["id"]
            for each in json.loads(self._run(*self._reader, "layers", "--json"))
        }
        parts: dict[str, Any] = json.loads(manifest)
        config = parts["config"]
        return Built(
            recipe.name,
            manifest,
            Blob(config["digest"], config["size"],
                 (*self._reader, "get-image-data", recipe.stored, config["digest"])),
            tuple(
                Blob(each["digest"], each["size"],
                     (*self._reader, "diff", "--uncompressed", layers[each["digest"]]))
                for each in parts["layers"]
            ),
        )  # fmt: skip

    def _buildah(self, *arguments: str) -> None:
        self._run(*self._builder, *arguments)

    def _run(self, *command: str) -> bytes:
        done = subprocess.run(command, env=self._environment, capture_output=True)
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise BuildFailed(f"{' '.join(command)}\n{said[-8000:]}")
        return done.stdout


def apart(*command: str) -> tuple[str, ...]:
    """`command`, ending with this process, and with mounts that end with it: however it ends."""
    return ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", *command)


def _machine_configuration(folder: Path) -> list[str]:
    """Flags that show a build this machine's certificates, pip configuration and uv's downloads."""
    pip = _pip_configuration()
    (folder / "pip.conf").write_text(
        "[global]\n" + "".join(f"{name} = {value}\n" for name, value in pip.items())
    )
    uv = ["system-certs = true"]
    if index := pip.get("index-url"):
        uv += ["[[index]]", f'url = "{index}"', "default = true"]
    (folder / "uv").mkdir()
    (folder / "uv/uv.toml").write_text("\n".join(uv) + "\n")
    downloads = Path.home() / ".cache/uv"
    downloads.mkdir(parents=True, exist_ok=True)
    shown = {
        folder / "pip.conf": "/etc/pip.conf:ro",
        folder / "uv": "/etc/uv:ro",
        Path(_CERTIFICATES): f"{_CERTIFICATES}:ro",
        downloads: _UV_CACHE,
    }
    return [f"--volume={here}:{there}" for here, there in shown.items()]


def _pip_configuration() -> dict[str, str]:
    """The settings that pip itself finds here, in files or in the environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"")
    return {name: found[name] for name in _FROM_PIP if name in found}
