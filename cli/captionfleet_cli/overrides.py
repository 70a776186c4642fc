"""The commands that go over the planner's head, for one model on one worker, and take it back."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from captionfleet.client import Client, Override, Worker
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.trouble import Exit, Trouble

Check = Callable[[Worker, str], str]
"""Why it makes no sense there; empty if it does."""

_LOOK_EVERY = 0.5
_REFUSED_SECONDS = 3.0
"""A refusal that lasts for so long is told; a shorter one may be yesterday's news."""
ModelArgument = Annotated[str, typer.Argument(help="Name of the model.")]
WorkerOption = Annotated[
    str, typer.Option("--worker", "-w", help="The worker, as `captionfleet get workers` names it.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until it is done, and tell how far it is.")
]
TimeoutOption = Annotated[float, typer.Option(help="Longest wait, in seconds.")]


def download(
    model: ModelArgument,
    worker: WorkerOption,
    wait: WaitOption = True,
    timeout: TimeoutOption = 3600,
    server: ServerOption = None,
) -> None:
    """Have a model's files on a worker, without loading it there."""
    _order("cached", model, worker, wait, timeout, server, check=_not_loaded)


def load(
    model: ModelArgument,
    worker: WorkerOption,
    wait: WaitOption = True,
    timeout: TimeoutOption = 3600,
    server: ServerOption = None,
) -> None:
    """Load a model on a worker, and keep it there."""
    _order("loaded", model, worker, wait, timeout, server)


def unload(
    model: ModelArgument,
    worker: WorkerOption,
    wait: WaitOption = True,
    timeout: TimeoutOption = 3600,
    server: ServerOption = None,
) -> None:
    """Unload a model from a worker, and keep it unloaded there. Its files stay."""
    _order("cached", model, worker, wait, timeout, server, check=_has_copy)


def evict(
    model: ModelArgument,
    worker: WorkerOption,
    wait: WaitOption = True,
    timeout: TimeoutOption = 3600,
    server: ServerOption = None,
) -> None:
    """Unload a model from a worker, delete its downloads there, and keep it away."""
    _order("absent", model, worker, wait, timeout, server)


def release(model: ModelArgument, worker: WorkerOption, server: ServerOption = None) -> None:
    """Leave a model on a worker to the planner again."""
    ask(server, lambda client: client.release(worker, model))
    print(f"{model} on {worker} is released")


def _order(
    state: Literal["loaded", "cached", "absent"],
    model: str,
    worker: str,
    wait: bool,
    timeout: float,
    server: str | None,
    check: Check | None = None,
) -> None:
    async def talk(client: Client) -> Override:
        if check and (why := check(await _worker(client, worker), model)):
            raise Trouble(why, Exit.USAGE)
        told = await client.override(worker, model, state)
        return await _followed(client, worker, told, timeout) if wait else told

    try:
        told = ask(server, talk)
    except KeyboardInterrupt:
        raise Trouble(f"it goes on; {_how_to_end(model, worker)}", Exit.FAILED) from None
    print(f"{model} on {worker}: {told.message}")
    if told.refused:
        raise Trouble(
            f"it stays asked for, in case it can be done later; {_how_to_end(model, worker)}",
            Exit.FAILED,
        )


async def _followed(client: Client, worker: str, told: Override, timeout: float) -> Override:
    """Until it is done, or refused for a while. Each new sentence goes to stderr."""
    ends = time.monotonic() + timeout
    said, refused_since = "", None
    while not told.done:
        if told.message != said:
            said = told.message
            print(said, file=sys.stderr, flush=True)
        now = time.monotonic()
        refused_since = (refused_since or now) if told.refused else None
        if refused_since and now - refused_since >= _REFUSED_SECONDS:
            return told
        if now > ends:
            raise Trouble(
                f"not done after {timeout:.0f} s: {said}. It goes on; "
                f"{_how_to_end(told.model, worker)}"
            )
        await asyncio.sleep(_LOOK_EVERY)
        told = await client.override_of(worker, told.model)
    return told


def _how_to_end(model: str, worker: str) -> str:
    return f"`captionfleet release {model} --worker {worker}` ends it."


async def _worker(client: Client, name: str) -> Worker:
    workers: dict[str, Any] = {each.id: each for each in await client.workers()}
    if name not in workers:
        known = ", ".join(sorted(workers)) or "none"
        raise Trouble(f"there is no worker {name!r} now; heard from are {known}.", Exit.USAGE)
    found: Worker = workers[name]
    return found


def _not_loaded(worker: Worker, model: str) -> str:
    if not any(copy.model == model for copy in worker.copies):
        return ""
    return (
        f"{model} is loaded on {worker.id}, so its files are there already. `captionfleet unload "
        f"{model} --worker {worker.id}` unloads it and keeps the files."
    )


def _has_copy(worker: Worker, model: str) -> str:
    asked = worker.overrides.get(model)
    if any(copy.model == model for copy in worker.copies) or (asked and asked.state == "loaded"):
        return ""
    return f"{model} is not loaded on {worker.id}: there is nothing to unload."
