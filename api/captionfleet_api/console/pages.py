"""The console's pages: address, title, navigation and the element that fills each."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request, Response
from nicegui import Client, app, ui

from captionfleet_api.console.elements import (
    CodePage,
    Composer,
    JobList,
    JobPage,
    ModelList,
    TopBar,
    WorkerList,
)

NAVIGATION = {"New": "/", "Jobs": "/jobs", "Models": "/models", "Workers": "/workers"}


@contextmanager
def page_frame(current: str) -> Iterator[None]:
    """What every page has: a skip link, the navigation with `current` marked, and main."""
    with ui.element("header").classes("top"):
        ui.link("captionfleet", "/").classes("brand")
        with ui.element("nav").props('aria-label="Pages"'):
            for text, address in NAVIGATION.items():
                link = ui.link(text, address)
                if text == current:
                    link.props('aria-current="page"')
        TopBar()
    with ui.element("main") as main:
        yield
    ui.skip_link("Skip to the content", target=main)


@ui.page("/", title="New comparison · captionfleet")
def new_comparison() -> None:
    with page_frame("New"):
        Composer()


@ui.page("/jobs", title="Jobs · captionfleet")
def jobs() -> None:
    with page_frame("Jobs"):
        JobList()


@ui.page("/jobs/{job}", title="Job · captionfleet")
def job(job: str) -> None:
    with page_frame("Jobs"):
        JobPage(job)


@ui.page("/models", title="Models · captionfleet")
def models() -> None:
    with page_frame("Models"):
        ModelList()


@ui.page("/models/code", title="Your own model · captionfleet")
def own_model() -> None:
    with page_frame("Models"):
        CodePage()


@ui.page("/models/{model}/code", title="Code · captionfleet")
def code(model: str) -> None:
    with page_frame("Models"):
        CodePage(model)


@ui.page("/workers", title="Workers · captionfleet")
def workers() -> None:
    with page_frame("Workers"):
        WorkerList()


@app.exception_handler(404)
async def no_such_page(request: Request, _: Exception) -> Response:
    with (
        Client(ui.page("", title="Not found · captionfleet"), request=request) as client,
        page_frame(""),
        ui.element("div").classes("empty"),
    ):
        ui.label("There is no page at this address.").props('role="heading" aria-level="1"')
        ui.link("Make a new comparison", "/")
        ui.link("See all jobs", "/jobs")
    return client.build_response(request, 404)
