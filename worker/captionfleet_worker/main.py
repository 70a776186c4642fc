"""Starts one worker: `captionfleet worker --pool NAME` and `python -m captionfleet_worker`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

import structlog
import uvloop
from pydantic import ValidationError

from captionfleet.lifeline import on_lifeline_cut
from captionfleet.logs import configure_logging
from captionfleet_worker.agent import Agent
from captionfleet_worker.device import NoGPU, find_device
from captionfleet_worker.engine_process import EngineOrder, EngineProcess
from captionfleet_worker.engine_room import usable_home
from captionfleet_worker.launching import Launcher, variables_named
from captionfleet_worker.live_copy import Progress, StartEngine
from captionfleet_worker.settings import WorkerSettings

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, then drain. Exit code 0, or 2 if the settings are wrong."""
    given = vars(_parser().parse_args(argv))
    try:
        settings = WorkerSettings(**{name: value for name, value in given.items() if value})
    except ValidationError as error:
        print(_explain(error), file=sys.stderr)
        return 2
    configure_logging("worker", settings.log_level, settings.log_format)
    _settle_home(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings))


async def _work(settings: WorkerSettings) -> int:
    try:
        device = await find_device(settings.device)
    except NoGPU as error:
        print(error, file=sys.stderr)
        return 2
    launcher = Launcher(variables_named(settings.engine_env))
    agent = Agent(settings, device, _starter(launcher), launcher.expect)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, agent.stop)
    on_lifeline_cut(agent.end_at_once)
    log.info("worker", id=settings.worker, pool=settings.pool, device=device.kind)
    try:
        await agent.run()
    finally:
        await launcher.stop()
    log.info("ended")
    return 0


def _starter(launcher: Launcher) -> StartEngine:
    async def start(order: EngineOrder, progress: Progress) -> EngineProcess:
        engine = await EngineProcess.start(order, progress, launcher.launch)
        if engine.loaded.uses_torch:  # own code may: its next engine need not import it again
            await launcher.warm_up(order)
        return engine

    return start


def _settle_home(settings: WorkerSettings) -> None:
    """Libraries, in the engines too, write below HOME and some fail if they cannot."""
    try:
        os.environ["HOME"] = usable_home(os.environ, settings.data)
    except OSError as error:
        log.warning("no folder that can be written to: set CAPTIONFLEET_DATA", why=str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="captionfleet worker",
        description="Join a fleet as one worker. RABBITMQ_URL names its broker.",
    )
    parser.add_argument("--pool", help="pool to join; default: CAPTIONFLEET_POOL, else default")
    parser.add_argument("--worker", help="id of this worker; default: the host's name and a nonce")
    parser.add_argument("--device", help="CPU, GPU or auto")
    parser.add_argument("--launch", help="mark by which an operator finds the workers it started")
    return parser


def _explain(error: ValidationError) -> str:
    """One sentence per wrong setting, by the name it is set under. Values are not shown."""
    return "\n".join(
        f"{_variable(str(problem['loc'][0]))}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )


def _variable(field: str) -> str:
    return field if field.isupper() else f"CAPTIONFLEET_{field.upper()}"
