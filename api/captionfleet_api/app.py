"""Builds the application: the doors, the layers around them, and what runs beside them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from captionfleet_api.background import Background
from captionfleet_api.parts import Parts
from captionfleet_api.routes import code, events, fleet, health, jobs, overrides, tasks
from captionfleet_api.routes.edge import Edge, Failures
from captionfleet_api.routes.guard import Guard, Rules
from captionfleet_api.routes.images import images_router
from captionfleet_api.routes.job_making import job_making_router
from captionfleet_api.routes.manifests import manifests_router
from captionfleet_api.routes.problems import add_handlers
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.migrate import migrate

# Where a door does not say otherwise; the console's own addresses included.
_LARGEST_BODY = 2 * 2**20


def create_app(parts: Parts) -> FastAPI:
    """The application. Its lifespan migrates the database and runs the background work."""
    background = Background(parts)

    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        await migrate(parts.database)
        background.start()
        yield
        await background.end()
        await parts.catalog.close()
        await parts.pictures.children.close()
        await parts.database.close()

    app = FastAPI(title="captionfleet", lifespan=alive, openapi_url=None)
    app.state.parts, app.state.background = parts, background
    app.include_router(health.router)
    app.mount("/api/v1", create_doors(parts))
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(Failures)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=_LARGEST_BODY)
    app.add_middleware(Guard, rules=_rules(parts.settings))
    app.add_middleware(Edge)
    return app


def create_doors(parts: Parts) -> FastAPI:
    """REST, an application of its own: what it does not know ends here and not in the console."""
    doors = FastAPI(
        title="captionfleet",
        summary="Show pictures to many image-captioning models at once, side by side.",
        version=version("captionfleet"),
        redoc_url=None,
    )
    doors.state.parts = parts
    doors.include_router(images_router(parts.settings))
    doors.include_router(job_making_router(parts.settings))
    for door in (jobs, tasks, events, fleet, overrides, code):
        doors.include_router(door.router)
    doors.include_router(manifests_router("/models", "CaptionModel"))
    doors.include_router(manifests_router("/pools", "CaptionWorkerPool"))
    add_handlers(doors)
    doors.add_middleware(Failures)
    return doors


def _rules(settings: ApiSettings) -> Rules:
    token = settings.token.get_secret_value() if settings.token else None
    return Rules(token=token, local_names_only=token is None and settings.on_loopback)
