"""Compose files without Docker: what they say, and every service in a box that is like a container.

A box has the image's files and environment, the service's command, environment and mounts, a
read-only root, and a network that all boxes share and nobody else: ports and names are the real
ones. bubblewrap makes boxes; the image is read from its Dockerfile. The user id stays as it is.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tests.conftest import ROOT

_VENV = Path(sys.prefix)
_INTERPOLATED = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")
_AS_ROOT = () if os.geteuid() == 0 else ("--user",)


@dataclass(frozen=True)
class Mount:
    source: str
    """A path of the project, or the name of a volume."""
    target: str
    read_only: bool


@dataclass(frozen=True)
class Service:
    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    health: tuple[str, ...]
    image: str
    dockerfile: str | None


def services(file: Path, values: Mapping[str, str]) -> dict[str, Service]:
    """The services of a compose file with `values` filled in."""
    document = _filled_in(yaml.safe_load(file.read_text()), values)
    return {name: _service(name, each) for name, each in document["services"].items()}


def _filled_in(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _filled_in(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled_in(value, values) for value in part]
    return _INTERPOLATED.sub(lambda m: _value(m, values), part) if isinstance(part, str) else part


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    name, kind, words = found.groups()
    if name is None:
        return "$"
    if not values.get(name) and kind == "?":
        raise ValueError(f"{name}: {words}")
    return values.get(name) or (words if kind == "-" else "")


def _service(name: str, said: Mapping[str, Any]) -> Service:
    build = said.get("build")
    return Service(
        name=name,
        command=tuple(said.get("command", ())),
        environment=said.get("environment", {}),
        mounts=tuple(_mount(each) for each in said.get("volumes", ())),
        health=tuple(said.get("healthcheck", {}).get("test", ()))[1:],
        image=said["image"],
        dockerfile=build.get("dockerfile", "Dockerfile") if build else None,
    )


def _mount(text: str) -> Mount:
    source, target, *options = text.split(":")
    return Mount(source, target, options == ["ro"])


@dataclass(frozen=True)
class Image:
    """What a Dockerfile of ours puts into an image."""

    environment: Mapping[str, str]
    files: Mapping[str, Path]
    """Place in the image -> file or folder of the project."""


@cache
def image(dockerfile: str) -> Image:
    text = re.sub(r"\\\n\s*", "", (ROOT / dockerfile).read_text())
    environment: dict[str, str] = {}
    files: dict[str, Path] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
        if word == "COPY" and not rest.startswith("locks/"):
            *sources, target = rest.split()
            into = Path("/app", target)
            for source in sources:
                inside = ROOT / source
                copied = inside.iterdir() if inside.is_dir() else [inside]
                files |= {str(into / each.name): each for each in copied}
    environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/bin:/bin")
    return Image(environment, files)


class Network:
    """A network of its own, with nothing but a loopback on which every service has its name."""

    def __init__(self, holder: "subprocess.Popen[bytes]") -> None:
        self._holder = holder

    def command(self, *command: str) -> list[str]:
        """`command`, run inside."""
        user = ("--user", "--preserve-credentials") if _AS_ROOT else ()
        return ["nsenter", f"--target={self._holder.pid}", *user, "--net", "--", *command]


@contextmanager
def network() -> Iterator[Network]:
    """Ends all that still runs in it."""
    mapped = ("--user", "--map-root-user") if _AS_ROOT else ()
    up = "ip link set lo up && echo up && exec sleep infinity"
    holder = subprocess.Popen(
        ["unshare", *mapped, "--net", "sh", "-c", up], stdout=subprocess.PIPE
    )  # fmt: skip
    assert holder.stdout and holder.stdout.readline() == b"up\n", "no network of its own"
    try:
        with holder.stdout:
            yield Network(holder)
    finally:
        holder.kill()
        holder.wait()


@dataclass
class Stack:
    """The boxes of some services. Volumes are folders below `folder`."""

    folder: Path
    network: Network
    names: tuple[str, ...]
    """Names that lead to this machine, in every box."""
    running: ExitStack

    def start(self, service: Service) -> "subprocess.Popen[bytes]":
        log = (self.folder / f"{service.name}.log").open("wb")
        process = subprocess.Popen(
            self._boxed(service, _command(service)), stdout=log, stderr=log, process_group=0
        )  # fmt: skip
        log.close()
        self.running.callback(process.wait)
        self.running.callback(process.kill)
        return process

    def is_healthy(self, service: Service) -> bool:
        """What the service's own health check says."""
        check = self._boxed(service, list(service.health))
        return subprocess.run(check, capture_output=True).returncode == 0

    def log(self, service: Service) -> str:
        return (self.folder / f"{service.name}.log").read_text(errors="replace")

    def _boxed(self, service: Service, command: list[str]) -> list[str]:
        made = image(service.dockerfile) if service.dockerfile else Image({}, {})
        environment = {**made.environment, **service.environment}
        return self.network.command(
            "bwrap", "--die-with-parent", "--unshare-pid", "--clearenv",
            *(word for name, value in environment.items() for word in ("--setenv", name, value)),
            *self._machine(),
            *(word for place, source in sorted(made.files.items())
              for word in ("--ro-bind", str(source), place)),
            *(word for mount in sorted(service.mounts, key=lambda mount: mount.target)
              for word in self._mounted(mount)),
            "--remount-ro", "/", "--chdir", "/app" if made.files else "/",
            *command,
        )  # fmt: skip

    def _machine(self) -> Iterator[str]:
        """What a base image brings: Debian, Python, and the installed packages."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(self.names)}\n")
        yield from ("--ro-bind", "/usr", "/usr")
        for link in ("bin", "sbin", "lib", "lib64"):
            yield from ("--symlink", f"usr/{link}", f"/{link}")
        for place in ("/etc/ssl", "/etc/passwd", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/sys"):
            yield from ("--ro-bind", place, place)
        yield from ("--ro-bind", str(hosts), "/etc/hosts")
        yield from ("--ro-bind", str(_VENV), "/opt/captionfleet")
        if not sys.base_prefix.startswith("/usr"):
            yield from ("--ro-bind", sys.base_prefix, sys.base_prefix)
        yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")

    def _mounted(self, mount: Mount) -> tuple[str, ...]:
        if mount.source.startswith("."):
            source = ROOT / mount.source
            assert source.exists(), f"{mount.source} is mounted and not there"
        else:
            source = self.folder / "volumes" / mount.source
            source.mkdir(parents=True, exist_ok=True)
        return ("--ro-bind" if mount.read_only else "--bind", str(source), mount.target)


def _command(service: Service) -> list[str]:
    """With the entry point that the image of Prometheus has."""
    if service.name == "prometheus":
        return [str(shutil.which("prometheus")), *service.command]
    return list(service.command)
