"""The demo's sample pictures, so that a person without pictures at hand can try the models."""

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp"}


def sample_pictures(catalog: Path) -> dict[str, Path]:
    """The pictures in the folder `pictures` of the demo's catalog, by file name."""
    folder = catalog / "pictures"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {f.name: f for f in files if f.is_file() and f.suffix.lower() in _SUFFIXES}


def samples_router(catalog: Path) -> APIRouter:
    """GET /console-samples lists the names, GET /console-samples/{name} is one file."""
    router = APIRouter(prefix="/console-samples", include_in_schema=False)

    @router.get("")
    def names() -> list[str]:
        return list(sample_pictures(catalog))

    @router.get("/{name}")
    def picture(name: str) -> FileResponse:
        file = sample_pictures(catalog).get(name)
        if file is None:
            raise HTTPException(404, f"there is no sample picture named {name}")
        return FileResponse(file)

    return router
