"""The parts an api is made of, wired once. Routes take what they need from here."""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from captionfleet.catalog import Catalog, FolderCatalog
from captionfleet_api.code.history import History
from captionfleet_api.code.publishing import Publishing
from captionfleet_api.hub import Hub
from captionfleet_api.images.blobs import Blobs
from captionfleet_api.images.child import Limits
from captionfleet_api.images.children import Children
from captionfleet_api.images.pictures import Pictures
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.flow import Flow
from captionfleet_api.jobs.overrides import Overrides
from captionfleet_api.jobs.submission import Submission
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.engine import Database, open_database


@dataclass(frozen=True)
class Parts:
    settings: ApiSettings
    database: Database
    changes: Changes
    fleet_view: FleetView
    catalog: Catalog
    blobs: Blobs
    pictures: Pictures
    submission: Submission
    history: History
    publishing: Publishing
    flow: Flow
    overrides: Overrides
    hub: Hub
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the program is told to stop: streams end at once."""

    @classmethod
    def of(cls, settings: ApiSettings) -> "Parts":
        """Opens folders and files below settings.data; starts nothing, connects to nothing."""
        settings.data.mkdir(parents=True, exist_ok=True)
        database = open_database(settings.database)
        changes, fleet_view = Changes(), FleetView()
        catalog = catalog_of(settings)
        blobs = Blobs(settings.blobs)
        overrides = Overrides(database, fleet_view)
        history = History(database)
        return cls(
            settings=settings,
            database=database,
            changes=changes,
            fleet_view=fleet_view,
            catalog=catalog,
            blobs=blobs,
            pictures=Pictures(database, blobs, children(settings)),
            submission=Submission(
                database, catalog, fleet_view, changes, settings.job_tasks, settings.open_tasks
            ),
            history=history,
            # There are no users yet: whoever has the token is the admin.
            publishing=Publishing(catalog, history, "admin" if settings.token else "local"),
            flow=Flow(settings, database, changes, fleet_view, catalog, blobs, overrides),
            overrides=overrides,
            hub=Hub(settings.hub),
        )


def catalog_of(settings: ApiSettings) -> Catalog:
    """The Kubernetes API where a namespace is named, else the folder."""
    if settings.namespace is None:
        return FolderCatalog(settings.catalog, settings.data, settings.custom_infer)
    from captionfleet.catalog.kubernetes import KubernetesCatalog

    return KubernetesCatalog(settings.namespace)


def children(settings: ApiSettings) -> Children:
    cores = len(os.sched_getaffinity(0))
    return Children(
        count=settings.decoders or max(1, min(4, cores // 2)),
        limits=Limits(
            side=settings.picture_side,
            pixels=settings.picture_pixels_mp * 1_000_000,
            memory_bytes=settings.decode_memory_mb * 1_000_000,
            cpu_seconds=int(settings.decode_seconds) + 1,
        ),
        seconds=settings.decode_seconds,
        waiting=settings.waiting_uploads,
    )


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Api = Annotated[Parts, Depends(parts_of)]
