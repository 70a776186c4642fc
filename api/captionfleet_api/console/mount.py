"""Puts the console into the api's application, at the addresses the REST doors leave free."""

from pathlib import Path

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captionfleet_api.console import pages
from captionfleet_api.console.samples import samples_router
from captionfleet_api.settings import ApiSettings

_HERE = Path(__file__).parent
_STYLE = "\n".join(file.read_text() for file in sorted((_HERE / "style").glob("*.css")))
# Before the first paint, so that a dark page never flashes white.
_THEME = """<script>
const theme = localStorage.getItem("captionfleet.theme");
if (theme) document.documentElement.dataset.theme = theme;
</script>"""

# Vue compiles templates in the browser, hence eval; but nothing ever comes from another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; font-src 'self' data:; "
    "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class _LocalOnly:
    """ASGI middleware: tells browsers that console pages load from this server alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        await self.app(scope, receive, dressed if scope["type"] == "http" else send)


def mount_console(app: FastAPI, settings: ApiSettings) -> None:
    """Call last: the console answers every address that has no route yet."""
    if settings.demo:
        app.include_router(samples_router(settings.catalog))
    ui.add_head_html(f"{_THEME}<style>{_STYLE}</style>", shared=True)
    nicegui_app.add_middleware(_LocalOnly)
    nicegui_app.config.quasar_config["loadingBar"] = {"skipHijack": True}  # no bar for each upload
    ui.run_with(
        app,
        title="captionfleet",
        favicon=_HERE / "favicon.svg",
        language="en-US",
        binding_refresh_interval=None,
        reconnect_timeout=30,
        tailwind=False,
        show_welcome_message=False,
    )
    assert pages  # importing them registers their routes
