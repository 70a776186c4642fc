"""Puts the console into the api's application, at the addresses the REST doors leave free."""

from pathlib import Path

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

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


def mount_console(app: FastAPI, settings: ApiSettings) -> None:
    """Call last: the console answers every address that has no route yet."""
    if settings.demo:
        app.include_router(samples_router(settings.catalog))
    ui.add_head_html(f"{_THEME}<style>{_STYLE}</style>", shared=True)
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
