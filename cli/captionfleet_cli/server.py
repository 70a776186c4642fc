"""How a command reaches the server: address, token, client."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from urllib.parse import parse_qs, urlsplit

import typer

from captionfleet.client import ApiProblem, Client, ServerUnreachable
from captionfleet_cli.settings import CliSettings
from captionfleet_cli.trouble import Exit, Trouble

T = TypeVar("T")
_FIRST_PATIENCE = 2.0
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="Address of the api, as `up` printed it. Default: CAPTIONFLEET_SERVER, else "
        "http://127.0.0.1:8000. The token comes from CAPTIONFLEET_TOKEN.",
    ),
]


@dataclass(frozen=True)
class Server:
    url: str
    token: str | None = field(repr=False)


def find_server(given: str | None) -> Server:
    """`given` is --server. An address as `up` prints it may carry the token (?token=...)."""
    settings = CliSettings()
    parts = urlsplit(given or settings.server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Trouble(
            f"{given or settings.server!r} is no address of a server: write it as "
            "http://HOST:PORT (--server, or CAPTIONFLEET_SERVER).",
            Exit.USAGE,
        )
    carried = parse_qs(parts.query).get("token", [None])[0]
    kept = settings.token.get_secret_value() if settings.token else None
    return Server(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", carried or kept)


def ask(given: str | None, question: Callable[[Client], Awaitable[T]]) -> T:
    """Run one conversation with the server. Raises Trouble in words."""
    server = find_server(given)

    async def talk() -> T:
        # A wrong address is told at once; a server that restarts meanwhile is waited for.
        async with Client(server.url, server.token, first_patience=_FIRST_PATIENCE) as client:
            return await question(client)

    try:
        return asyncio.run(talk())
    except ServerUnreachable as error:
        raise Trouble(
            f"{error}. Is it running? Start it with `captionfleet up FOLDER`, or name its address "
            "with --server or CAPTIONFLEET_SERVER.",
            Exit.UNREACHABLE,
        ) from None
    except ApiProblem as problem:
        raise Trouble(in_words(problem, server), exit_code(problem)) from None


def in_words(problem: ApiProblem, server: Server) -> str:
    if problem.status == 401:
        told = "does not accept the token" if server.token else "asks for a token"
        return (
            f"{server.url} {told}: set CAPTIONFLEET_TOKEN to the one `captionfleet up` printed "
            "in its address."
        )
    field = f"{problem.field}: " if problem.field and problem.field not in str(problem) else ""
    return f"{field}{problem}"


def exit_code(problem: ApiProblem) -> Exit:
    """What the caller got wrong is a usage error; the rest a failure."""
    return Exit.USAGE if problem.status in (400, 404, 422) else Exit.FAILED
