"""The doors of overrides: what a person asks of one worker about one model."""

from typing import Literal

from fastapi import APIRouter

from captionfleet.catalog import Unavailable
from captionfleet.messages import Wanted
from captionfleet_api.jobs.fleet_view import FleetView, WorkerView
from captionfleet_api.jobs.shapes import Page, Shape, rfc3339
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.problems import Problem
from captionfleet_api.store.tables import Override

router = APIRouter(prefix="/workers/{worker}/overrides", tags=["fleet"])


class OverrideWish(Shape):
    state: Literal["loaded", "cached", "absent"]
    """loaded: have a copy here; cached: have its files here and no copy; absent: have neither, and
    do not download it here again."""


class OverrideShape(Shape):
    model: str
    state: Literal["loaded", "cached", "absent"]
    """What was asked."""
    message: str
    """How far it has got, or why it cannot be done."""
    done: bool
    refused: bool
    """It cannot be done as things stand; it is done as soon as it can."""
    asked_at: str


@router.get("")
async def every(worker: str, api: Api) -> Page[OverrideShape]:
    """What is asked of this worker. It ends with the worker's process, or when it is released."""
    seen = _heard(api, worker)
    asked = await api.overrides.of_worker(worker, seen.incarnation)
    return Page(items=[override_shape(row, api.fleet_view) for row in asked.values()])


@router.get("/{model}")
async def one(worker: str, model: str, api: Api) -> OverrideShape:
    row = await _asked(api, _heard(api, worker), model)
    return override_shape(row, api.fleet_view)


@router.put("/{model}")
async def ask(worker: str, model: str, wish: OverrideWish, api: Api) -> OverrideShape:
    """Ask this worker to load, unload, fetch or drop the model, whatever the planner would do.

    The answer says how far it is; GET this address again to follow it.
    """
    seen = _heard(api, worker)
    if seen.draining:
        raise Problem(409, f"worker {worker} is draining and takes nothing new: ask another one")
    _check_model(api, model)
    await api.overrides.ask(worker, seen.incarnation, model, Wanted(wish.state))
    api.flow.tell_demand()
    return override_shape(await _asked(api, seen, model), api.fleet_view)


@router.delete("/{model}", status_code=204)
async def release(worker: str, model: str, api: Api) -> None:
    """Leave the model on this worker to the planner again."""
    if not await api.overrides.release(worker, model):
        raise _none(worker, model)
    api.flow.tell_demand()


def override_shape(row: Override, view: FleetView) -> OverrideShape:
    told = view.override_state(row.worker, row.model, Wanted(row.state))
    return OverrideShape(
        model=row.model, state=Wanted(row.state).value, message=told.message, done=told.done,
        refused=told.refused, asked_at=rfc3339(row.asked_at) or "",
    )  # fmt: skip


async def _asked(api: Parts, seen: WorkerView, model: str) -> Override:
    asked = await api.overrides.of_worker(seen.id, seen.incarnation)
    if model not in asked:
        raise _none(seen.id, model)
    return asked[model]


def _none(worker: str, model: str) -> Problem:
    return Problem(
        404,
        f"nothing is asked of worker {worker} about {model}: it was released, or it ended when "
        "the worker's process did",
    )


def _heard(api: Parts, worker: str) -> WorkerView:
    heard = {view.id: view for view in api.fleet_view.workers()}
    if worker not in heard:
        names = ", ".join(sorted(heard)[:30]) or "none"
        raise Problem(404, f"there is no worker {worker!r} now; heard from are {names}")
    return heard[worker]


def _check_model(api: Parts, model: str) -> None:
    if not api.catalog.complete():
        raise Unavailable(f"the models were not read yet: {api.catalog.trouble()}")
    known = api.catalog.models()
    if model not in known:
        names = ", ".join(sorted(known)[:30]) or "none yet"
        raise Problem(404, f"there is no CaptionModel {model!r}; known are {names}")
