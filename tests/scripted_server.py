"""A real HTTP server whose answers a test writes down: for what a healthy api never does."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.conftest import eventually

Answer = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def scripted_server(answers: dict[str, Answer]) -> AsyncIterator[str]:
    """Serve `METHOD /path` -> answer on a free port; yields the address."""
    routes = []
    for door, answer in answers.items():
        method, path = door.split()
        routes.append(Route(path, answer, methods=[method]))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            Starlette(routes=routes), log_level="critical", ws="none", lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve(sockets=[listening]))
        await eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
