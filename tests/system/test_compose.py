"""The compose files hold what they promise: valid, and their services caption pictures together."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from tests.conftest import ROOT, SHAPES, eventually
from tests.system.compose import Network, Service, Stack, network, services

pytestmark = pytest.mark.timeout(240)
FILES = ("compose.yaml", "compose.worker.yaml")
EXAMPLE = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
OURS = {name: value.replace("change-this", "some-real") for name, value in EXAMPLE.items()}

BROKER = """
import signal, sys
from pathlib import Path
from captionfleet_cli.rabbitmq import start_private_broker
broker = start_private_broker(Path(sys.argv[1]), port=5672)
broker.wait_until_ready(120)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
broker.kill()
"""
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.mark.parametrize("file", FILES)
def test_the_file_is_what_the_compose_specification_allows(file: str) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(ROOT / file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_example_names_every_variable_and_repeats_its_default() -> None:
    asked: dict[str, set[str]] = {}
    for file in FILES:
        for name, default in re.findall(r"\$\{(\w+)(?::[-?]([^}]*))?\}", (ROOT / file).read_text()):
            asked.setdefault(name, set()).add(default)
    assert set(EXAMPLE) - set(asked) == {"COMPOSE_IGNORE_ORPHANS"}
    assert set(asked) <= set(EXAMPLE)
    must = {name for name, default in asked.items() if default == {"copy .env.example to .env"}}
    assert must == {
        "RABBITMQ_URL", "SERVER_QUEUE", "RABBITMQ_USER", "RABBITMQ_PASSWORD", "CAPTIONFLEET_TOKEN"
    }  # fmt: skip
    assert {name: {EXAMPLE[name]} for name in asked.keys() - must} == {
        name: default for name, default in asked.items() if name not in must
    }


def test_without_passwords_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"copy \.env\.example to \.env"):
        services(ROOT / "compose.yaml", {})


def test_its_images_carry_the_projects_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert EXAMPLE["CAPTIONFLEET_IMAGE_TAG"] == version


def test_nothing_is_reachable_from_other_machines_unless_asked() -> None:
    assert all(v.startswith("127.0.0.1:") for n, v in EXAMPLE.items() if n.endswith("_PUBLISH"))


@dataclass(frozen=True)
class Running:
    """All services of both files, healthy."""

    stack: Stack
    services: dict[str, Service]
    network: Network

    def fetch(self, url: str) -> str:
        command = self.network.command(sys.executable, "-c", FETCH, url)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def ask(self, *arguments: str) -> Any:
        """What `captionfleet ARGUMENTS --output json` answers."""
        return json.loads(self.captionfleet(*arguments, "--output", "json"))

    def captionfleet(self, *arguments: str) -> str:
        program = str(Path(sys.executable).with_name("captionfleet"))
        done = subprocess.run(
            self.network.command(program, *arguments),
            env={**os.environ, "CAPTIONFLEET_TOKEN": OURS["CAPTIONFLEET_TOKEN"]},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("compose")
    found = {name: each for file in FILES for name, each in services(ROOT / file, OURS).items()}
    with network() as inside, ExitStack() as ending:
        stack = Stack(folder, inside, tuple(found), ending)
        ending.enter_context(rabbitmq(folder, found["rabbitmq"], inside))
        programs = {name: each for name, each in found.items() if name != "rabbitmq"}
        for each in programs.values():
            stack.start(each)
        for each in programs.values():
            if each.health:
                await eventually(partial(stack.is_healthy, each), seconds=150, what=each.name)
        yield Running(stack, programs, inside)


@contextmanager
def rabbitmq(folder: Path, service: Service, inside: Network) -> Iterator[None]:
    """The private broker with the service's user and password, on the real port."""
    assert service.environment["RABBITMQ_DEFAULT_USER"] == "captionfleet"
    data = folder / "rabbitmq"
    data.mkdir()
    (data / "password").write_text(service.environment["RABBITMQ_DEFAULT_PASS"])
    command = inside.command(sys.executable, "-c", BROKER, str(data))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as broker:
        try:
            assert broker.stdout and broker.stdout.readline() == b"ready\n"
            yield
        finally:
            broker.terminate()


@pytest.mark.services
async def test_the_worker_joins_and_captions_what_is_submitted(running: Running) -> None:
    truth = json.loads((SHAPES / "pictures/truth.json").read_text())
    pictures = [str(SHAPES / f"pictures/shapes-0{number}.png") for number in range(1, 7)]
    done = running.ask("submit", *pictures, "--models", "shapes-basic", "--wait")
    told = {task["image"]["filename"]: task["caption"]["text"] for task in done["tasks"]}
    right = {name for name, text in told.items() if text == truth[name]["captions"]["plain"]}
    assert len(told) == len(pictures)
    assert len(right) >= 5, told  # the toy model takes one circle for a star


@pytest.mark.services
async def test_prometheus_scrapes_what_the_worker_did(running: Running) -> None:
    running.ask("submit", str(SHAPES / "pictures/shapes-07.png"), "--models",
                         "shapes-blip", "--wait")  # fmt: skip
    query = "http://127.0.0.1:9090/api/v1/query?query=processed_messages_total"

    def scraped() -> bool:
        series = json.loads(running.fetch(query))["data"]["result"]
        return "shapes-blip" in {each["metric"]["model"] for each in series}

    await eventually(scraped, seconds=30)


@pytest.mark.services
async def test_a_model_added_through_the_api_is_kept_and_its_status_comes_back(
    running: Running, tmp_path: Path
) -> None:
    model = {
        "apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionModel",
        "metadata": {"name": "added"},
        "spec": {"source": {"volume": {"path": "/models/shapes-weak"}}},
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(model))
    running.captionfleet("apply", "-f", str(tmp_path / "model.json"))
    kept = running.stack.folder / "volumes/managed"
    assert [file.name for file in kept.iterdir()] == ["CaptionModel-added.yaml"]

    def told() -> bool:
        return bool(running.ask("get", "model", "added").get("status"))

    await eventually(told)


@pytest.mark.services
async def test_the_operator_starts_no_worker_beside_the_one_that_joined(running: Running) -> None:
    pool = running.ask("get", "pool", "cpu")
    assert pool["status"]["desiredReplicas"] == 0
    assert len(running.ask("get", "workers")["items"]) == 1
