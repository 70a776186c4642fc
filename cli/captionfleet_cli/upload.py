"""The command upload: a Python file goes to the server and becomes a model, or its next version."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from captionfleet.client import Client, CodeVersion
from captionfleet_cli.own_code import kwargs_of, text_of
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.trouble import Exit, Trouble


def upload(
    files: Annotated[
        list[Path], typer.Argument(help="The Python file with the class, and files it imports.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model. Default: the name of the class's file.")
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(help="module:Class. Default: the one class that can be it.")
    ] = None,
    kwarg: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE for the class; repeated. Default: as they are."),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Send a model of your own to the server. Workers run it without being restarted."""
    code = _code(files)
    kwargs = kwargs_of(kwarg) if kwarg else None

    async def talk(client: Client) -> CodeVersion:
        return await client.upload_code(code, name=name, entrypoint=entrypoint, kwargs=kwargs)

    sent = ask(server, talk)
    print(f"captionmodel/{sent.model} is version {sent.number} ({sent.sha256[:12]}), {sent.note}")
    print(f"See how it gets on: captionfleet get model {sent.model} -w")


def _code(files: Sequence[Path]) -> dict[str, str]:
    """Name -> text."""
    code: dict[str, str] = {}
    for file in files:
        if file.name in code:
            raise Trouble(f"two files are named {file.name}: rename one of them.", Exit.USAGE)
        code[file.name] = text_of(file)
    return code
