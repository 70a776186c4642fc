"""`python -m captionfleet_api`: serves until SIGTERM, then ends in order with exit status 0.

SIGUSR1 stops only the release of tasks, so that workers can drain while results are written.
"""

import argparse
import asyncio
import signal
import socket
import sys

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from captionfleet.lifeline import on_lifeline_cut
from captionfleet.logs import configure_logging
from captionfleet_api.app import create_app
from captionfleet_api.background import Background
from captionfleet_api.console.mount import mount_console
from captionfleet_api.parts import Parts
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.migrate import migrate

_BAD_SETTINGS, _NOT_STARTED = 2, 3
_GRACE_SECONDS = 20


class _Server(uvicorn.Server):
    """Says when it is ready; ends streams and the relay before it waits for requests."""

    def __init__(self, config: uvicorn.Config, parts: Parts, background: Background) -> None:
        super().__init__(config)
        self.parts = parts
        self._background = background

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            print(f"ready http://{_shown_host(self.config.host)}:{port}/", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.parts.ending.set()
        await self._background.end_flow()
        await super().shutdown(sockets)


def main() -> None:
    settings = _settings()
    configure_logging("api", settings.log_level, settings.log_format)
    parts = Parts.of(settings)
    app = create_app(parts)
    mount_console(app, settings)
    server = _server(app, parts)
    # When it is done the server raises the signal that ended it once more: no death of ours.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server))
    sys.exit(0 if server.started else _NOT_STARTED)


async def _serve(server: _Server) -> None:
    on_lifeline_cut(lambda: server.handle_exit(signal.SIGTERM, None))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, server.parts.flow.stop_releasing)
    try:
        await migrate(server.parts.database)
    except OperationalError as error:
        told = " ".join(str(error.orig).split())
        print(f"captionfleet_api: the database cannot be used: {told}", file=sys.stderr)
        return
    await server.serve()


def _server(app: FastAPI, parts: Parts) -> _Server:
    config = uvicorn.Config(
        app,
        host=parts.settings.host,
        port=parts.settings.port,
        access_log=False,
        log_level="warning",
        log_config=None,  # it would print in a form of its own
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return _Server(config, parts, app.state.background)


def _settings() -> ApiSettings:
    """From the environment and the command line; exits with words if they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m captionfleet_api", description=__doc__)
    parser.add_argument(
        "--no-auth", action="store_true", help="serve beyond loopback without a token"
    )
    chosen = parser.parse_args()
    try:
        return ApiSettings(no_auth=True) if chosen.no_auth else ApiSettings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            place = "".join(f"{part}: " for part in problem["loc"])
            print(f"captionfleet_api: {place}{problem['msg']}", file=sys.stderr)
        sys.exit(_BAD_SETTINGS)


def _shown_host(host: str) -> str:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    shown = everywhere.get(host, host)
    return f"[{shown}]" if ":" in shown else shown


if __name__ == "__main__":
    main()
