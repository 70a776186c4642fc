"""The console's own elements: each is a Vue component, an ES module in components/, never built.

What they share lies in modules/ and is imported as "captionfleet-console/<module>.js".
They talk to /api/v1 themselves, so that nothing of a page lives in the server's memory.
"""

from pathlib import Path

from nicegui import ui
from nicegui.dependencies import register_esm

MODULES = Path(__file__).parent / "modules"

# Element(esm=...) would name the folder after its own mtime, which does not change when a file in
# it does: browsers would keep the old module for a year.
register_esm(
    "captionfleet-console", MODULES, max_time=max(f.stat().st_mtime for f in MODULES.iterdir())
)


class TopBar(ui.element, component="components/top_bar.js"):
    """Theme switch, help, connection and the fleet's banners."""


class Composer(ui.element, component="components/composer.js"):
    """The home page: pictures, models and a prompt become a job."""


class JobPage(ui.element, component="components/job_page.js"):
    """One job: its head and the grid picture x column."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self.props["job"] = job


class JobList(ui.element, component="components/job_list.js"):
    """All jobs, newest first."""


class ModelList(ui.element, component="components/model_list.js"):
    """All models: state, why not ready, where cached and loaded."""


class CodePage(ui.element, component="components/code_page.js"):
    """A model of one's own: upload, check, arguments, versions. Without a model: a new one."""

    def __init__(self, model: str = "") -> None:
        super().__init__()
        self.props["model"] = model


class WorkerList(ui.element, component="components/worker_list.js"):
    """All pools and their workers."""
