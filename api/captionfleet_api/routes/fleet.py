"""The doors of the fleet: its workers, how it stands, what the demo offers."""

from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter

from captionfleet.messages import Download
from captionfleet_api.hub import OFFERS
from captionfleet_api.jobs.fleet_view import WorkerView
from captionfleet_api.jobs.shapes import Page, Shape, rfc3339
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.overrides import OverrideShape, override_shape
from captionfleet_api.routes.problems import Problem

router = APIRouter(tags=["fleet"])


class MemoryShape(Shape):
    total: int
    used: int


class DownloadShape(Shape):
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    percent: int
    bytes_per_second: float | None
    """Over the last seconds; null until it is measured."""
    seconds_left: float | None
    """At that speed; null while nothing comes."""


class DiskShape(Shape):
    cache_bytes: int
    """What the downloaded models take."""
    free_bytes: int
    room_bytes: int
    """What may still be downloaded before the watermark is reached."""


class CopyShape(Shape):
    model: str
    state: str
    """downloading, loading, ready, unloading or failed."""
    revision: str | None
    memory: int | None
    in_flight: int
    """Tasks it holds."""
    message: str | None
    download: DownloadShape | None
    """While downloading."""
    rate: float | None
    """Measured pictures per second."""


class WorkerShape(Shape):
    id: str
    pool: str
    node: str
    device: str
    device_name: str
    memory: MemoryShape
    copies: list[CopyShape]
    cached: list[str]
    disk: DiskShape | None
    """Where its downloads go."""
    """Models whose files are here."""
    overrides: dict[str, OverrideShape]
    """Model -> what a person asked of this worker over the planner's wish."""
    draining: bool
    fresh: bool
    """Heard within three heartbeat periods."""
    seen_at: str


class BrokerShape(Shape):
    connected: bool
    message: str
    """Why not; empty while connected."""


class CatalogShape(Shape):
    kind: Literal["folder", "namespace"]
    """Where models and pools are kept: a folder of manifests, or a namespace of Kubernetes."""
    name: str
    trouble: str
    """Why what is shown of it may be out of date; empty while it is not."""


class OperatorShape(Shape):
    seen_seconds: float | None
    """Seconds since it was heard; null if never."""
    message: str


class CustomCodeShape(Shape):
    taken: bool
    """Python code for models may be sent."""
    message: str
    """Why not, and what to do; empty where it may."""


class OfferShape(Shape):
    name: str
    display_name: str
    repo: str
    size_bytes: int
    license: str


class DemoShape(Shape):
    hub_reachable: bool | None
    """null until the first look."""
    offers: list[OfferShape]


class FleetShape(Shape):
    fleet: str
    version: str
    broker: BrokerShape
    operator: OperatorShape
    catalog: CatalogShape
    workers: int
    catalog_problems: list[str]
    """Refused manifests, each with its place, field and remedy."""
    custom_code: CustomCodeShape
    demo: DemoShape | None


@router.get("/workers")
async def workers(api: Api) -> Page[WorkerShape]:
    """The workers that were heard within 30 s."""
    views = api.fleet_view.workers()
    asked = await api.overrides.of_all({view.id: view.incarnation for view in views})
    return Page(
        items=[
            _worker(
                view,
                {
                    name: override_shape(row, api.fleet_view)
                    for name, row in asked.get(view.id, {}).items()
                },
            )
            for view in views
        ]
    )


@router.get("/fleet")
async def fleet(api: Api) -> FleetShape:
    """How the installation stands."""
    return FleetShape(
        fleet=api.settings.fleet,
        version=version("captionfleet"),
        broker=BrokerShape(connected=not api.flow.trouble, message=api.flow.trouble),
        operator=_operator(api.fleet_view.operator_seen_seconds()),
        catalog=_catalog(api),
        workers=sum(view.fresh for view in api.fleet_view.workers()),
        catalog_problems=api.catalog.problems(),
        custom_code=CustomCodeShape(
            taken=not api.settings.code_refusal, message=api.settings.code_refusal
        ),
        demo=_demo(api),
    )


@router.post("/fleet/offers/{name}", status_code=201, response_model=dict[str, Any])
async def accept(name: str, api: Api) -> dict[str, Any]:
    """Add an offered model to the catalog; a worker fetches it and tests it at once."""
    offer = next((each for each in OFFERS if each.name == name), None)
    if offer is None or not api.settings.demo:
        raise Problem(404, f"nothing named {name} is offered: see `demo` of GET /api/v1/fleet")
    return (await api.catalog.put(offer.manifest())).as_manifest()


def _worker(view: WorkerView, overrides: dict[str, OverrideShape]) -> WorkerShape:
    return WorkerShape(
        id=view.id,
        pool=view.pool,
        node=view.node,
        device=view.device,
        device_name=view.device_name,
        memory=MemoryShape(total=view.memory_total, used=view.memory_used),
        copies=[
            CopyShape(
                model=copy.model, state=copy.state, revision=copy.revision, memory=copy.memory,
                in_flight=copy.in_flight, message=copy.message, rate=copy.rate,
                download=_download(copy.download),
            )
            for copy in view.copies
        ],
        cached=list(view.cached),
        disk=DiskShape(**view.disk.model_dump()) if view.disk else None,
        overrides=overrides,
        draining=view.draining,
        fresh=view.fresh,
        seen_at=rfc3339(view.seen_at) or "",
    )  # fmt: skip


def _download(told: Download | None) -> DownloadShape | None:
    if told is None:
        return None
    numbers = told.model_dump(exclude={"file"})
    return DownloadShape(percent=told.percent, **numbers)


def _operator(seen_seconds: float | None) -> OperatorShape:
    if seen_seconds is None:
        message = "no operator was heard yet: start one"
    elif seen_seconds > 10:
        message = f"the operator was last heard {seen_seconds:.0f} s ago: start it again"
    else:
        message = ""
    return OperatorShape(seen_seconds=seen_seconds, message=message)


def _catalog(api: Parts) -> CatalogShape:
    trouble, settings = api.catalog.trouble(), api.settings
    if settings.namespace:
        return CatalogShape(kind="namespace", name=settings.namespace, trouble=trouble)
    return CatalogShape(kind="folder", name=str(settings.catalog), trouble=trouble)


def _demo(api: Parts) -> DemoShape | None:
    if not api.settings.demo:
        return None
    known = api.catalog.models()
    offers = [
        OfferShape(
            name=offer.name, display_name=offer.display_name, repo=offer.repo,
            size_bytes=offer.size_bytes, license=offer.license,
        )
        for offer in OFFERS
        if offer.name not in known
    ]  # fmt: skip
    return DemoShape(hub_reachable=api.hub.reachable, offers=offers)
