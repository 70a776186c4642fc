"""The command worker: becomes the worker program, with its flags as settings."""

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from captionfleet_cli.trouble import Trouble


class DeviceChoice(StrEnum):
    AUTO = "auto"
    CPU = "CPU"
    GPU = "GPU"


def worker(
    pool: Annotated[str, typer.Option(help="Pool to join: the name of a CaptionWorkerPool.")],
    device: Annotated[
        DeviceChoice | None,
        typer.Option(case_sensitive=False, help="What to compute on. Default: auto."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Id of this worker, unique in its fleet.")
    ] = None,
    fleet: Annotated[str | None, typer.Option(help="Fleet to join. Default: captionfleet.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics; 0 = any free one. Default: 8001.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for everything kept. Default: .captionfleet")
    ] = None,
    custom_infer: Annotated[
        Path | None, typer.Option(help="Folder of CustomModel code. Default: custom_infer")
    ] = None,
) -> None:
    """Run one worker here. It needs the broker's address (RABBITMQ_URL) and nothing else.

    SIGTERM or Ctrl-C lets it finish what it runs.
    """
    if importlib.util.find_spec("transformers") is None:
        raise Trouble(
            "the worker's packages are not installed here: pip install 'captionfleet[worker]'."
        )
    flags = {
        "POOL": pool, "DEVICE": device, "WORKER": name, "FLEET": fleet,
        "METRICS_PORT": metrics_port, "DATA": data, "CUSTOM_INFER": custom_infer,
    }  # fmt: skip
    settings = {f"CAPTIONFLEET_{k}": str(v) for k, v in flags.items() if v is not None}
    # Replacing this process, not importing: signals, and the memory of this CLI, need no thought.
    os.execve(  # noqa: S606 - our own program, no shell
        sys.executable,
        [sys.executable, "-m", "captionfleet_worker"],
        {**os.environ, **settings},
    )
