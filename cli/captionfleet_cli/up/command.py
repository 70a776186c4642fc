"""The command `captionfleet up`: flags and settings in, an installation out."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from captionfleet.catalog import FolderCatalog
from captionfleet_cli.local_files import remember_installation
from captionfleet_cli.rabbitmq import BrokerUnavailable, find_server, private_broker_url
from captionfleet_cli.trouble import Exit, Trouble
from captionfleet_cli.up.installation import say, serve
from captionfleet_cli.up.place import (
    check_port,
    fleet_name,
    free_port,
    kept_token,
    locked,
    write_address,
)
from captionfleet_cli.up.programs import Installation
from captionfleet_cli.up.settings import UpSettings

_AFTER_DRAIN = 15.0


def up(
    folder: Annotated[Path, typer.Argument(help="Folder of manifests: models and pools.")],
    port: Annotated[int | None, typer.Option(help="Port of the api; 0 = any free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address the api listens on.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for everything kept. Default: FOLDER/.captionfleet")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Offer small models of the hub.")] = False,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="No token beyond loopback: behind your own proxy.")
    ] = False,
) -> None:
    """Run everything on this machine: a private RabbitMQ, the api with its console, the operator.

    Prints `ready URL` when pictures can be submitted. Ctrl-C ends it and loses nothing.
    """
    flags = {"host": host, "port": port, "data": data, "demo": demo or None,
             "no_auth": no_auth or None}  # fmt: skip
    settings = UpSettings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    if not folder.is_dir():
        raise Trouble(
            f"{folder} is no folder: name a folder of manifests, for example examples/shapes.",
            Exit.USAGE,
        )
    with locked(settings.data_for(folder)):
        installation = _installation(folder.resolve(), settings)
        _tell(installation, settings)
        asyncio.run(serve(installation, lambda: _announce(installation)))


def _installation(folder: Path, settings: UpSettings) -> Installation:
    data = settings.data_for(folder)
    check_port(settings.host, settings.port)
    broker_port = free_port()
    return Installation(
        folder=folder,
        data=data,
        fleet=fleet_name(settings.given_fleet, data, private_broker=settings.given_broker is None),
        broker_url=_broker_url(settings, data, broker_port),
        private_broker=settings.given_broker is None,
        broker_port=broker_port,
        host=settings.host,
        # Chosen here, not by the api, so that a restarted api is found where it was.
        port=settings.port or free_port(),
        token=_token(settings, data),
        no_auth=settings.no_auth,
        demo=settings.demo,
        drain_seconds=_longest_drain(folder, data) + _AFTER_DRAIN,
    )


def _broker_url(settings: UpSettings, data: Path, port: int) -> str:
    if settings.given_broker:
        return settings.given_broker
    try:
        find_server()
    except BrokerUnavailable as error:
        raise Trouble(str(error)) from None
    return private_broker_url(data / "broker", port)


def _token(settings: UpSettings, data: Path) -> str | None:
    if settings.token:
        return settings.token.get_secret_value()
    return None if settings.on_loopback or settings.no_auth else kept_token(data)


def _longest_drain(folder: Path, data: Path) -> float:
    pools = FolderCatalog(folder, data).pools().values()
    return max((pool.spec.drain.timeout_seconds for pool in pools), default=0)


def _tell(installation: Installation, settings: UpSettings) -> None:
    """What a person may want to know, and do, before it is ready."""
    write_address(installation.data, installation.own_url)
    remember_installation(installation.own_url, installation.data)
    say(f"manifests in {installation.folder}, everything kept in {installation.data}")
    if not settings.on_loopback:
        say(f"reachable from other machines: http://{socket.gethostname()}:{installation.port}/")
    if settings.no_auth and not settings.on_loopback:
        say("NO TOKEN is asked for: everybody who reaches this address may do everything")
    if not installation.private_broker:
        say(
            "a worker elsewhere joins with: RABBITMQ_URL=... "
            f"CAPTIONFLEET_FLEET={installation.fleet} captionfleet worker --pool NAME"
        )


def _announce(installation: Installation) -> None:
    print(f"ready {installation.printed_url}", flush=True)
