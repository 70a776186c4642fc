"""Which assignment this worker obeys: heard ones in order, else the one it kept on disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from captionfleet.messages import Assignment, Generation, ModelAssignment, Wanted
from captionfleet_worker.keeping import keep_assignment, kept_assignment
from captionfleet_worker.reconcile import Order

log = structlog.get_logger()

Made = tuple[str, ModelAssignment]
"""A model, and what a copy of it was told to be made of."""


class Assignments:
    """The assignment that counts now. It is never logged: it may carry credentials."""

    def __init__(self, worker: str, file: Path) -> None:
        self._worker = worker
        self._file = file
        self._order = Order()
        self._current: Assignment | None = None
        self.heard = False
        """The operator has spoken since this worker started."""

    def hear(self, body: bytes, copies: Iterable[Made] = ()) -> bool:
        """Take a message from the broker; True if what shall be has changed by it.

        `copies`: of what the copies here are made. Raises ValueError if it is no assignment.
        """
        try:
            offered = Assignment.model_validate_json(body)
        except ValidationError as error:
            raise ValueError(f"no assignment: {error.error_count()} problems") from None
        if offered.worker != self._worker or not self._order.accepts(offered.generation):
            return False
        self.heard = True
        self._order = self._order.after(offered.generation)
        offered = _with_code(offered, self._current, copies)
        before, self._current = self._current, offered
        if before and _same(before, offered):
            return False
        keep_assignment(self._file, offered)
        return True

    def resume(self) -> bool:
        """Obey the kept assignment if none was heard; True if there is one."""
        if self.heard:
            return False
        self._current = kept_assignment(self._file, self._worker)
        return self._current is not None

    @property
    def generation(self) -> Generation | None:
        return self._current.generation if self._current else None

    @property
    def most_loads(self) -> int:
        return self._current.max_concurrent_loads if self._current else 1

    @property
    def models(self) -> Mapping[str, ModelAssignment]:
        """Every model named in it, whatever shall become of it."""
        return self._current.models if self._current else {}

    @property
    def known(self) -> bool:
        """There is one. Without any, nothing is to be changed."""
        return self._current is not None

    def loaded(self) -> dict[str, ModelAssignment]:
        """The models that shall be loaded."""
        return {name: each for name, each in self.models.items() if each.state == Wanted.LOADED}

    def asked_files(self) -> dict[str, ModelAssignment]:
        """The models whose files a person asked to have here, or to have gone."""
        return {
            name: each
            for name, each in self.models.items()
            if each.asked and each.state != Wanted.LOADED
        }


def _same(one: Assignment, other: Assignment) -> bool:
    return (one.models, one.max_concurrent_loads) == (other.models, other.max_concurrent_loads)


def _with_code(
    offered: Assignment, before: Assignment | None, copies: Iterable[Made]
) -> Assignment:
    """Code that is left out is as it was. What lacks its code stays as it was until it comes."""
    last = before.models if before else {}
    known = {
        (name, each.fingerprint): each
        for name, each in [*copies, *last.items()]
        if not each.code_left_out
    }
    models = {}
    for name, each in offered.models.items():
        whole = _completed(each, known.get((name, each.fingerprint)))
        if not (whole.code_left_out and whole.state == Wanted.LOADED):
            models[name] = whole
        elif name in last:
            models[name] = last[name]
    return offered.model_copy(update={"models": models})


def _completed(offered: ModelAssignment, known: ModelAssignment | None) -> ModelAssignment:
    """With the code of an earlier one, which is for the same fingerprint."""
    if not offered.code_left_out or known is None:
        return offered
    custom = {**offered.spec["custom"], "files": known.spec["custom"]["files"]}
    update = {"spec": {**offered.spec, "custom": custom}, "code_left_out": False}
    return offered.model_copy(update=update)
