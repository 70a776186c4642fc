"""All copies of one worker: carries out the actions that reconcile decides."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping

import structlog

from captionfleet.broker.link import Session
from captionfleet.messages import Copy, CopyState, ModelAssignment
from captionfleet_worker.live_copy import LiveCopy, Workplace
from captionfleet_worker.reconcile import Action, Verb, WantedCopy, next_actions

log = structlog.get_logger()


class Copies:
    """The copies that this worker holds. A model has two while one takes over from the other."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._copies: dict[int, LiveCopy] = {}
        self._numbers = itertools.count(1)
        self._unloads: set[asyncio.Task[None]] = set()

    def steer(
        self,
        wanted: Mapping[str, ModelAssignment],
        code_of: Callable[[ModelAssignment], str | None],
        most_loads: int,
    ) -> None:
        """Begin what brings the copies closer to `wanted`, the models that shall be loaded. At most
        `most_loads` of them load at the same time, and as many start again."""
        for slots in (self._place.loads, self._place.restarts):
            slots.allow(most_loads)
        made_of = {
            model: WantedCopy(each.fingerprint, code_of(each), each.change)
            for model, each in wanted.items()
        }
        facts = [copy.facts() for copy in self._copies.values()]
        for action in next_actions(made_of, facts, time.monotonic()):
            self._act(action, wanted, made_of)

    @property
    def models(self) -> set[str]:
        """Models of which there is a copy, in whatever state."""
        return {copy.model for copy in self._copies.values()}

    def made(self) -> list[tuple[str, ModelAssignment]]:
        """Of what the copies are made, by model."""
        return [(copy.model, copy.wanted) for copy in self._copies.values()]

    @property
    def repositories(self) -> set[str]:
        """On hubs, those that copies were made from."""
        return {name for copy in self._copies.values() if (name := copy.repository)}

    async def open(self, session: Session) -> None:
        """Open the consumers of all ready copies that have none in this session."""
        for copy in list(self._copies.values()):
            await copy.open(session)

    async def drain(self) -> None:
        """Finish what runs, hand back what does not, on every copy at once."""
        await asyncio.gather(*(copy.drain() for copy in self._copies.values()), *self._unloads)

    async def end(self) -> None:
        """Stop every engine."""
        await asyncio.gather(*(copy.end() for copy in self._copies.values()))

    async def mistrusted(self, session: Session, judge: Callable[[float, int], bool]) -> list[str]:
        """Models whose consumers are open and idle, and get nothing of what waits for them."""
        copies = list(self._copies.values())
        return [each.model for each in copies if await each.mistrusted(session, judge)]

    def views(self) -> list[Copy]:
        """One per model: the newest that serves, else the oldest; another one stands beside it."""
        told: dict[str, Copy] = {}
        for copy in self._copies.values():
            view, first = copy.view(), told.get(copy.model)
            if first is None:
                told[copy.model] = view
            elif view.state == CopyState.READY or first.state == CopyState.UNLOADING:
                told[copy.model] = view.model_copy(update={"beside": first})
            else:
                told[copy.model] = first.model_copy(update={"beside": view})
        return list(told.values())

    def held_tokens(self) -> list[str]:
        return [token for copy in self._copies.values() for token in copy.held_tokens]

    def running_tokens(self) -> list[str]:
        return [token for copy in self._copies.values() for token in copy.running_tokens]

    def recall(self) -> None:
        """More was cancelled."""
        for copy in self._copies.values():
            copy.recall()

    def pids(self) -> list[int]:
        """Processes of the engines."""
        return [copy.pid for copy in self._copies.values() if copy.pid is not None]

    def _act(
        self,
        action: Action,
        wanted: Mapping[str, ModelAssignment],
        made_of: Mapping[str, WantedCopy],
    ) -> None:
        there = self._copies.get(action.number)
        if action.verb == Verb.LOAD:
            failed = self._copies.pop(action.number, None)
            number = next(self._numbers)
            self._copies[number] = LiveCopy(
                action.model, wanted[action.model], made_of[action.model].code, self._place,
                failures=failed.failures if failed else 0, number=number,
            )  # fmt: skip
        elif there:
            unload = asyncio.create_task(self._unload(there))
            self._unloads.add(unload)
            unload.add_done_callback(self._unloads.discard)

    async def _unload(self, copy: LiveCopy) -> None:
        try:
            await copy.unload()
        except Exception:
            log.exception("copy not unloaded in order", model=copy.model)
        finally:
            self._copies.pop(copy.number, None)
            self._place.changed()
