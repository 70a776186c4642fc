"""Runs one installation from start to end: what `captionfleet up` does once its flags are read."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from captionfleet.client import ApiProblem, Client, Fleet, ServerUnreachable
from captionfleet_cli.trouble import Trouble
from captionfleet_cli.up.ending import Crew, end_in_order, kill_all
from captionfleet_cli.up.programs import Installation
from captionfleet_cli.up.record import ProcessRecord
from captionfleet_cli.up.service import Program, Service, ServiceFailed

_LOOK_EVERY = 0.2
_SAY_EVERY = 10.0


def say(text: str) -> None:
    """Progress, for people. Nobody may be reading any more: that must not stop the ending."""
    with contextlib.suppress(BrokenPipeError):
        print(f"captionfleet: {text}", file=sys.stderr, flush=True)


async def serve(installation: Installation, announce: Callable[[], None]) -> None:
    """Start everything, `announce` when pictures can be submitted, keep it running until SIGTERM
    or Ctrl-C, and end it in order; told twice, kill it. Raises Trouble if it cannot be started.
    """
    told_once, told_twice = _listen()
    record = ProcessRecord(installation.data / "processes.json")
    await asyncio.to_thread(record.end_survivors, 5)
    lifeline, held_end = os.pipe()  # whoever reads `lifeline` sees its end when this process dies
    try:
        crew = _crew(installation, lifeline, record)
        runs = [asyncio.create_task(service.run()) for service in crew.services]
        ready = asyncio.create_task(_until_ready(installation, crew, announce))
        trouble = await _first_trouble(told_once, [*runs, ready])
        ready.cancel()
        await _end(crew, installation, told_twice)
        await asyncio.gather(ready, *runs, return_exceptions=True)
        record.forget_all()
    finally:
        os.close(held_end)
        os.close(lifeline)
    if trouble:
        raise Trouble(str(trouble)) from trouble


def _listen() -> tuple[asyncio.Event, asyncio.Event]:
    """Events that are set when we are told to end, and when we are told again."""
    once, twice = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(
            number, lambda: (twice if once.is_set() else once).set()
        )
    return once, twice


def _crew(installation: Installation, lifeline: int, record: ProcessRecord) -> Crew:
    def service(program: Program) -> Service:
        return Service(program, lifeline, record, say)

    return Crew(
        api=service(installation.api(os.environ)),
        operator=service(installation.operator(os.environ)),
        broker=service(installation.guard(os.environ)) if installation.private_broker else None,
        workers_file=installation.data / "operator" / "workers.json",
    )


async def _first_trouble(
    told: asyncio.Event, works: list[asyncio.Task[None]]
) -> ServiceFailed | None:
    """Wait until we are told to end (None) or one of `works` fails."""
    waiting: set[asyncio.Task[Any]] = {asyncio.create_task(told.wait()), *works}
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if isinstance(error := task.exception(), ServiceFailed):
                return error
            if error:
                raise error
        if told.is_set():
            return None


async def _until_ready(
    installation: Installation, crew: Crew, announce: Callable[[], None]
) -> None:
    started = told = time.monotonic()
    say(
        "starting a private RabbitMQ, the api and the operator"
        if installation.private_broker
        else "starting the api and the operator, on the broker that RABBITMQ_URL names"
    )
    async with Client(installation.own_url, installation.token, patience=0) as client:
        while missing := await _missing(client):
            if time.monotonic() - told > _SAY_EVERY:
                told = time.monotonic()
                say(f"not ready yet: {missing}")
            await asyncio.sleep(_LOOK_EVERY)
    for service in crew.services:
        service.proven = True
    say(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C ends it")
    announce()


async def _missing(client: Client) -> str:
    """What keeps pictures from being submitted, in words; empty when nothing does."""
    try:
        return what_is_missing(await client.fleet())
    except ServerUnreachable:
        return "the api does not answer yet"
    except ApiProblem as problem:
        return f"the api says: {problem}"


def what_is_missing(fleet: Fleet) -> str:
    if not fleet.broker.connected:
        return f"the api waits for the broker: {fleet.broker.message}"
    if fleet.operator.seen_seconds is None:
        return "the operator was not heard from yet"
    return ""


async def _end(crew: Crew, installation: Installation, told_twice: asyncio.Event) -> None:
    say("ending: work in progress is finished first (once more to end at once)")
    in_order = asyncio.create_task(end_in_order(crew, installation.drain_seconds, say))
    again = asyncio.create_task(told_twice.wait())
    await asyncio.wait({in_order, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not in_order.done():
        in_order.cancel()
        await kill_all(crew)
    await asyncio.gather(in_order, again, return_exceptions=True)
