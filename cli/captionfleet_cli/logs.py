"""The command logs: what a model's engines printed, on this machine."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from captionfleet_cli.local_files import installation_data
from captionfleet_cli.server import ServerOption, find_server
from captionfleet_cli.settings import CliSettings
from captionfleet_cli.text import one_line
from captionfleet_cli.trouble import Exit, Trouble

_LOOK_EVERY = 0.5


def logs(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the installation on this machine.")
    ] = None,
    server: ServerOption = None,
) -> None:
    """Print what the engines of a model wrote, on this machine's installation."""
    folder = _data_folder(data, server) / "logs"
    reader = LogReader(folder, model)
    lines = list(reader.fresh_lines())
    if not reader.files():
        raise Trouble(
            f"no engine has run {model!r} here yet: there is no {folder}/*/{model}.log. "
            f"`captionfleet describe model {model}` says why it is not loaded. "
            "The logs of workers on other machines are there, not here.",
        )
    try:
        while True:
            for line in lines:
                print(line, flush=True)
            if not follow:
                return
            time.sleep(_LOOK_EVERY)
            lines = list(reader.fresh_lines())
    except KeyboardInterrupt:  # the usual end of --follow
        raise typer.Exit(Exit.FINE) from None


class LogReader:
    """Reads what was added to the logs of one model since the last look, on all workers."""

    def __init__(self, folder: Path, model: str) -> None:
        if "/" in model or model.startswith("."):
            raise Trouble(f"{model!r} is no name of a model.", Exit.USAGE)
        self._folder, self._model = folder, model
        self._read: dict[Path, int] = {}

    def files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*/{self._model}.log"))

    def fresh_lines(self) -> Iterator[str]:
        """Whole lines, each with its worker in front."""
        for file in self.files():
            with file.open("rb") as log:
                log.seek(self._start(file))
                for line in log:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    self._read[file] = self._read.get(file, 0) + len(line)
                    yield f"{file.parent.name}: {one_line(line.decode(errors='replace'))}"

    def _start(self, file: Path) -> int:
        if file.stat().st_size < self._read.get(file, 0):
            self._read[file] = 0  # it was begun anew
        return self._read.get(file, 0)


def _data_folder(given: Path | None, server: str | None) -> Path:
    settings = CliSettings()
    if given:
        return given
    if "data" in settings.model_fields_set:
        return settings.data
    url = find_server(server).url
    if found := installation_data(url):
        return found
    raise Trouble(
        f"no installation at {url} was started on this machine, and logs are files: name its data "
        "folder with --data DIR, or run this where the workers are.",
        Exit.USAGE,
    )
