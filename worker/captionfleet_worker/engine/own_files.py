"""Files of a person's code: where they lie, and what their author calls them.

Those of a manifest (spec.custom.files) are laid out in the engine's own folder.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from captionfleet.resources.model import CustomFile
from captionfleet_worker.engine.protocol import EngineOrder, LoadFailed


def code_folders(order: EngineOrder, room: Path) -> list[Path]:
    """Where a person's code lies: files of the manifest win over custom_infer."""
    own = [room / "code"] if order.spec.custom and order.spec.custom.files else []
    return [*own, order.custom_infer]


def as_written(file: str, folders: Sequence[Path]) -> str | None:
    """The file's path as its author wrote it, if it lies in one of the folders."""
    place = Path(file).resolve()
    for folder in folders:
        if place.is_relative_to(folder.resolve()):
            return str(place.relative_to(folder.resolve()))
    return None


def write_files(files: Sequence[CustomFile], folder: Path) -> None:
    """Write each file below the folder, which is made. Raises LoadFailed, before anything is
    written, for a path that leads elsewhere."""
    places = [(each, _place(each.path, folder)) for each in files]
    folder.mkdir(parents=True, exist_ok=True)
    for each, place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # "x": a path that is named twice, in whatever spelling, must not win by its order.
            with place.open("x", encoding="utf-8", newline="") as file:
                file.write(each.content)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise _refused(each.path, f"cannot be written: {why}") from None


def _place(path: str, folder: Path) -> Path:
    """The manifest's own rules say the same; they were judged elsewhere, so it is asked again."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts:
        raise _refused(path, "is no relative path of a file")
    if ".." in pure.parts or "\\" in path or not path.isprintable():
        raise _refused(path, "may lead out of the engine's folder")
    return folder / pure


def _refused(path: str, why: str) -> LoadFailed:
    return LoadFailed("InvalidSpec", f"spec.custom.files: {path!r} {why}: correct it")
