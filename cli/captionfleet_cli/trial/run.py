"""Runs a class where a worker would run it, in an engine process, and judges it check by check."""

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from captionfleet_cli.trial.checks import (
    Check,
    Result,
    Said,
    failed,
    judge_batch,
    judge_determinism,
    judge_single,
    judge_timing,
    judge_unload,
    megabytes,
)
from captionfleet_cli.trial.pictures import Named
from captionfleet_cli.trial.subject import Subject

if TYPE_CHECKING:
    from captionfleet_worker.engine_process import EngineOrder, EngineProcess

_PRINTED_LINES = 40


@dataclass(frozen=True)
class _Batch:
    """The same pictures, each alone and all together."""

    alone: Sequence[Said]
    together: Sequence[Said]
    repeatable: bool


@dataclass
class Trial:
    """One trial. checks() runs it; the rest is known when that has ended."""

    subject: Subject
    pictures: Sequence[Named]
    prompt: str
    folder: Path
    """An empty one for the engine's files."""
    captions: list[Said] = field(default_factory=list)
    memory_bytes: int = 0
    """Most that was seen, on the model's device."""
    _batch: "_Batch | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "engine.log"

    async def checks(self) -> AsyncIterator[Check]:
        """In order; the first that leaves nothing to go on with is the last."""
        from captionfleet_worker.engine_process import (
            EngineDied,
            EngineProcess,
            EngineTimeout,
            LoadFailed,
        )

        try:
            engine = await EngineProcess.start(self._order(), lambda sentence: None)
        except LoadFailed as error:
            yield failed("load", error.message, self._remedy("load() and what the file imports"))
            return
        took = f"{engine.loaded.load_seconds:.1f} s, {megabytes(engine.memory_bytes())}"
        yield Check("load", Result.OK, took)
        try:
            async for check in self._ask(engine):
                yield check
        except (EngineDied, EngineTimeout) as error:
            yield failed("running", str(error), self._remedy("what infer() calls"))
        else:
            async for check in self._stop(engine):
                yield check
        finally:
            await engine.stop()

    async def _ask(self, engine: "EngineProcess") -> AsyncIterator[Check]:
        self.captions = alone = await self._one_by_one(engine)
        yield (single := judge_single(alone))
        if single.result == Result.FAILED:
            return
        yield (same := judge_determinism(alone, await self._one_by_one(engine)))
        shown = list(itertools.islice(itertools.cycle(range(len(alone))), self.subject.batch))
        together = await self._run(engine, [self.pictures[place] for place in shown])
        compared = [alone[place] for place in shown]
        self._batch = _Batch(compared, together, repeatable=same.result == Result.OK)

    async def _stop(self, engine: "EngineProcess") -> AsyncIterator[Check]:
        """The batch is judged here: how it went is only in the log, which is complete now."""
        loaded = engine.memory_bytes()
        self.memory_bytes = max(self.memory_bytes, loaded)
        await engine.stop()
        if batch := self._batch:
            check = judge_batch(batch.alone, batch.together, self._why_split(), batch.repeatable)
            yield check
            if check.result != Result.FAILED:
                yield judge_timing(batch.alone, batch.together)
        told = engine.unloaded
        yield judge_unload(
            loaded, told.memory_bytes if told else None, told.problem if told else engine.stood_in
        )

    async def _one_by_one(self, engine: "EngineProcess") -> list[Said]:
        said = []
        for picture in self.pictures:
            said += await self._run(engine, [picture])
        return said

    async def _run(self, engine: "EngineProcess", pictures: Sequence[Named]) -> list[Said]:
        """Raises EngineDied, EngineTimeout."""
        from captionfleet_worker.engine_process import Shot

        started = time.monotonic()
        answers = await engine.run([Shot(picture, self.prompt) for _, picture in pictures], {})
        seconds = (time.monotonic() - started) / len(pictures)
        self.memory_bytes = max(self.memory_bytes, engine.memory_bytes())
        return [
            Said(name, answer.text, f"{answer.error_code}: {answer.error_message}", seconds)
            for (name, _), answer in zip(pictures, answers, strict=True)
        ]

    def _why_split(self) -> str:
        """Why the engine had to cut a batch, by its log: the captions do not show it."""
        from captionfleet_worker.engine.answering import IN_PARTS

        lines = [line for line in self._printed() if IN_PARTS in line]
        return lines[0].partition(IN_PARTS)[2].partition(": ")[2] if lines else ""

    def _printed(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def _order(self) -> "EngineOrder":
        from captionfleet_worker.engine_process import EngineOrder

        return EngineOrder(
            model=self.subject.name or "trial", spec=self.subject.spec(),
            device="cuda:0" if self.subject.gpu else "cpu", threads=1,
            custom_infer=self._custom_infer(), cache=None,
            rooms=self.folder / "rooms", log_file=self.log,
        )  # fmt: skip

    def _custom_infer(self) -> Path:
        """Code that goes with its manifest finds nothing beside it elsewhere."""
        return self.folder if self.subject.with_code else self.subject.file.parent.resolve()

    def _remedy(self, where: str) -> str:
        printed = "\n".join(f"    {line}" for line in self._printed()[-_PRINTED_LINES:])
        told = f"look at {where}"
        return f"{told}; it printed last:\n{printed}" if printed else told
