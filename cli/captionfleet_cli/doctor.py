"""The command doctor: is everything there that captioning needs, and if not, what to do."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console
from rich.text import Text

from captionfleet.client import ApiProblem, Client, Document, Fleet, ServerUnreachable
from captionfleet_cli.kinds import size
from captionfleet_cli.local_files import installation_data
from captionfleet_cli.rabbitmq import BrokerUnavailable
from captionfleet_cli.rabbitmq import find_server as find_rabbitmq
from captionfleet_cli.server import Server, ServerOption, find_server, in_words
from captionfleet_cli.settings import CliSettings
from captionfleet_cli.trouble import Exit

_LITTLE_SPACE, _NO_SPACE = 5 * 10**9, 10**9
_SILENT_SECONDS = 10


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str
    said: str
    remedy: str = ""


def doctor(server: ServerOption = None) -> None:
    """Check this machine and the server. Exit code 0 if nothing fails."""
    there = find_server(server)
    console, worst = Console(highlight=False, soft_wrap=True), Level.OK
    for finding in _findings(there):
        console.print(line(finding))
        if finding.level is Level.FAIL:
            worst = Level.FAIL
    if worst is Level.FAIL:
        raise typer.Exit(Exit.FAILED)


def line(finding: Finding) -> Text:
    color = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}[finding.level]
    text = Text(f"{finding.level:<5}", style=color)
    text.append(f"{finding.what}: {finding.said}", style="default")
    if finding.remedy:
        text.append(f"\n      {finding.remedy}", style="dim")
    return text


def _findings(server: Server) -> Iterator[Finding]:
    settings = CliSettings()
    yield _programs()
    yield _rabbitmq(given="rabbitmq_url" in settings.model_fields_set)
    if "rabbitmq_url" in settings.model_fields_set:
        yield _given_broker(settings.rabbitmq_url.get_secret_value())
    data = installation_data(server.url) or Path()
    yield disk(data, shutil.disk_usage(data if data.exists() else Path()).free)
    yield _hub()
    yield from asyncio.run(_ask_server(server))


def _programs() -> Finding:
    """Which programs this Python can run: each has packages of its own."""
    needs = {"api": "nicegui", "operator": "aio_pika", "worker": "transformers"}
    missing = [name for name, package in needs.items() if find_spec(package) is None]
    said = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    if missing:
        remedy = f"To run them here: pip install 'captionfleet[{','.join(missing)}]'"
        return Finding(Level.WARN, said, f"lacks the packages of {', '.join(missing)}", remedy)
    return Finding(Level.OK, said, "has the packages of api, operator and worker")


def _rabbitmq(*, given: bool) -> Finding:
    try:
        return Finding(Level.OK, "RabbitMQ here", find_rabbitmq())
    except BrokerUnavailable as error:
        level = Level.OK if given else Level.WARN
        return Finding(level, "RabbitMQ here", "not installed", "" if given else str(error))


def _given_broker(url: str) -> Finding:
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
    try:
        host, _, port = where.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=3):
            return Finding(Level.OK, "broker of RABBITMQ_URL", f"{where} answers")
    except OSError as error:
        return Finding(
            Level.FAIL, "broker of RABBITMQ_URL", f"{where}: {error}",
            "Start it, correct RABBITMQ_URL, or unset it: `captionfleet up` then runs its own.",
        )  # fmt: skip


def disk(folder: Path, free: int) -> Finding:
    said = f"{size(free)} free at {folder.resolve()}"
    remedy = "Pictures, models and the broker need room: free some, or `up --data` elsewhere."
    if free < _NO_SPACE:
        return Finding(Level.FAIL, "disk", said, remedy)
    return Finding(Level.WARN, "disk", said, remedy) if free < _LITTLE_SPACE else Finding(
        Level.OK, "disk", said
    )  # fmt: skip


def _hub() -> Finding:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        httpx.head(endpoint, timeout=5)
    except httpx.HTTPError as error:
        return Finding(
            Level.WARN, "model hub", f"{endpoint} does not answer ({type(error).__name__})",
            "Only models with source.huggingFace need it; HF_ENDPOINT names a mirror.",
        )  # fmt: skip
    return Finding(Level.OK, "model hub", f"{endpoint} answers")


async def _ask_server(server: Server) -> list[Finding]:
    try:
        async with Client(server.url, server.token, patience=2) as client:
            fleet = await client.fleet()
            models = await client.manifests("models")
    except ServerUnreachable as error:
        remedy = "Start it with `captionfleet up FOLDER`, or name its address with --server."
        return [Finding(Level.FAIL, "api", str(error), remedy)]
    except ApiProblem as problem:
        return [Finding(Level.FAIL, "api", in_words(problem, server))]
    said = f"{server.url}, version {fleet.version}, fleet {fleet.fleet}"
    return [Finding(Level.OK, "api", said), *judged(fleet, models)]


def judged(fleet: Fleet, models: Sequence[Document]) -> Iterator[Finding]:
    """What the server's own account amounts to. Pure."""
    broker, operator = fleet.broker, fleet.operator
    if broker.connected:
        yield Finding(Level.OK, "broker", "the api is connected")
    else:
        yield Finding(Level.FAIL, "broker", broker.message, "Is RabbitMQ running? See its log.")
    if operator.seen_seconds is None or operator.seen_seconds > _SILENT_SECONDS:
        heard = operator.message or "not heard from"
        yield Finding(Level.FAIL, "operator", heard, "Is it running? See logs/operator.log.")
    else:
        yield Finding(Level.OK, "operator", f"heard {operator.seen_seconds:.0f} s ago")
    if fleet.workers:
        yield Finding(Level.OK, "workers", str(fleet.workers))
    else:
        remedy = "`captionfleet get pools` says how many there should be, and why."
        yield Finding(Level.WARN, "workers", "none now", remedy)
    if fleet.catalog.trouble:
        remedy = "Is the Kubernetes API up, and may the api's service account read captionmodels?"
        yield Finding(Level.WARN, "catalog", fleet.catalog.trouble, remedy)
    yield from _manifests(fleet.catalog_problems, models)


def _manifests(problems: Iterable[str], models: Sequence[Document]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(Level.FAIL, "manifest", problem)
    broken = [each for each in models if _status(each).get("phase") in ("Failed", "Degraded")]
    for each in broken:
        name, status = each["metadata"]["name"], _status(each)
        remedy = f"captionfleet describe model {name}; captionfleet logs {name}"
        said = f"{status['phase']}: {status.get('message', '')}"
        yield Finding(Level.FAIL, f"model {name}", said, remedy)
    if not models:
        yield Finding(Level.WARN, "models", "none", "Add one: captionfleet add OWNER/NAME")
    elif not broken:
        yield Finding(Level.OK, "models", f"{len(models)}, none failed")


def _status(model: Document) -> dict[str, Any]:
    return model.get("status") or {}
