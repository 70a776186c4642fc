"""Tells how far the fetcher is: the agent what changed, at most twice a second; its log less."""

import sys
import threading
import time
from typing import TextIO

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.meter import Meter
from captionfleet_worker.fetching.order import Fetched, Progress, say

_PERIOD_SECONDS = 0.5
_NOTE_SECONDS = 10.0


class Telling:
    """Lines to one stream, from a thread of its own: silence of the hub is no silence of ours."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._sentence = ""
        self._meter: Meter | None = None
        self._told: Progress | None = None
        self._noted_at = float("-inf")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sentence(self, said: str) -> None:
        self._sentence = said

    def measure(self, meter: Meter) -> None:
        self._meter = meter

    def finish(self, end: Fetched | LoadFailed) -> None:
        """The last line."""
        self._over.set()
        self._thread.join()
        self._say(last=True)
        self._stream.write(say(end))
        self._stream.flush()

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_SECONDS):
            self._say()

    def _say(self, *, last: bool = False) -> None:
        now = Progress(self._sentence, self._meter.view() if self._meter else None)
        if not now.sentence or now == self._told:
            return
        self._note(now, last or self._told is None or now.sentence != self._told.sentence)
        self._told = now
        self._stream.write(say(now))
        self._stream.flush()

    def _note(self, now: Progress, news: bool) -> None:
        """For whoever reads the model's log."""
        if news or time.monotonic() - self._noted_at >= _NOTE_SECONDS:
            self._noted_at = time.monotonic()
            numbers = f": {now.download.told()}" if now.download else ""
            print(
                f"{time.strftime('%H:%M:%S')} {now.sentence}{numbers}", file=sys.stderr, flush=True
            )
