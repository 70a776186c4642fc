"""How an engine comes to be: forked from a process that has all imported, or as a new one.

A transformers model waits for the fork-server, which is never slower than importing for itself.
A person's own code takes it where it is warm already: code that needs no torch should not wait
for it, and what does need it finds it warm the next time.
"""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from captionfleet_worker.engine.protocol import EngineOrder
from captionfleet_worker.engine_room import room_environment
from captionfleet_worker.fork_server import ForkServer, NoForkServer

log = structlog.get_logger()

_PASSED_ON = {
    "PATH", "HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "SHELL", "LANG", "LANGUAGE", "TZ",
    "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "HF_HOME", "HF_HUB_CACHE",
    "CAPTIONFLEET_FAULT",
}  # fmt: skip
_PASSED_ON_PREFIXES = (
    "LC_", "PYTHON", "XDG_", "CUDA", "NVIDIA_", "CUBLAS_", "CUDNN_", "NCCL_", "TORCH", "PYTORCH_",
    "TRITON_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "GLIBC_",
)  # fmt: skip

_NEVER = {"RABBITMQ_URL", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
"""Not even if somebody names them: what the agent and its downloads need."""


class Child(Protocol):
    """An engine's process."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...


Launch = Callable[[EngineOrder, Path, int, int], Awaitable[Child]]
"""Start the engine of an order, in its room, with its socket and its output."""


class Launcher:
    """Launches the engines of one worker. `passed_on`: further variables that engines see."""

    def __init__(self, passed_on: frozenset[str] = frozenset()) -> None:
        self._passed_on = passed_on
        self._server = ForkServer()

    async def launch(self, order: EngineOrder, room: Path, link: int, output: int) -> Child:
        environment = engine_environment(order, os.environ, self._passed_on)
        if order.spec.custom and not self._server.warm:
            return await _new_process(environment, room, link, output)
        own = environment | room_environment(room, environment)
        try:
            await self._server.warm_up(environment)
            return await self._server.fork(own, room, link, output)
        except NoForkServer as error:
            log.warning("no fork-server: engines import for themselves", why=str(error))
            return await _new_process(environment, room, link, output)

    async def expect(self, order: EngineOrder) -> None:
        """Begin to import while the files of its model are fetched."""
        if not order.spec.custom:
            with suppress(OSError):  # launch() meets it again, and tells
                await self.warm_up(order)

    async def warm_up(self, order: EngineOrder) -> None:
        """Have the next engine there at once."""
        await self._server.warm_up(engine_environment(order, os.environ, self._passed_on))

    async def warmth(self) -> None:
        """Wait until that is so. Raises NoForkServer."""
        await self._server.warmth()

    @property
    def server_pid(self) -> int | None:
        return self._server.pid

    async def stop(self) -> None:
        await self._server.stop()


async def launch_alone(order: EngineOrder, room: Path, link: int, output: int) -> Child:
    """Without a fork-server: where there will be one engine only."""
    passed_on = variables_named(os.environ.get("CAPTIONFLEET_ENGINE_ENV", ""))
    return await _new_process(engine_environment(order, os.environ, passed_on), room, link, output)


async def _new_process(environment: Mapping[str, str], room: Path, link: int, output: int) -> Child:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "captionfleet_worker.engine",
        str(link), str(os.getpid()), str(room),
        stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        pass_fds=(link,), start_new_session=True,
        env={**environment, **room_environment(room, environment)},
    )  # fmt: skip


def variables_named(text: str) -> frozenset[str]:
    """The names in a setting such as `A, B`."""
    return frozenset(re.split(r"[, ]+", text)) - {""}


def engine_environment(
    order: EngineOrder, inherited: Mapping[str, str], passed_on: frozenset[str] = frozenset()
) -> dict[str, str]:
    """What an engine sees: of the agent's variables those that are known to be harmless and of
    use, so no credentials, whatever their names; no hub; quiet libraries."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name in (_PASSED_ON | passed_on) - _NEVER or name.startswith(_PASSED_ON_PREFIXES)
    }
    return kept | {
        "HF_HUB_OFFLINE": "1",
        # Threads that spin while they wait slow down every other engine of the machine.
        "OMP_NUM_THREADS": str(order.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        # Asking CUDA's own library whether there is a GPU would spoil every fork.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
