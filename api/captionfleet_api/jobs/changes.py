"""Who is told about changes inside one api process: open event streams, and the relay.

Nothing is carried here but the news that something changed; what changed stands in the database.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Changes:
    """Tell after the commit, never before: whoever is woken reads the database."""

    def __init__(self) -> None:
        self._streams: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._models: set[str] = set()
        self._woken = asyncio.Event()

    def tell(self, job_ids: Iterable[str], models: Iterable[str] = ()) -> None:
        """Wake the streams of these jobs, and the relay if models have new pending work."""
        for job in job_ids:
            for stream in self._streams.get(job, ()):
                stream.set()
        self._models.update(models)
        if self._models:
            self._woken.set()

    def tell_everyone(self) -> None:
        """Wake all streams: something changed that no row tells, for example what runs now."""
        for streams in self._streams.values():
            for stream in streams:
                stream.set()

    @contextmanager
    def following(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set on every change of this job. Clear it *before* reading."""
        event = asyncio.Event()
        self._streams[job].add(event)
        try:
            yield event
        finally:
            self._streams[job].discard(event)
            if not self._streams[job]:
                del self._streams[job]

    async def models_woken(self) -> set[str]:
        """Wait until some models have new pending work; return them. For one reader, the relay."""
        await self._woken.wait()
        self._woken.clear()
        models, self._models = self._models, set()
        return models
