"""The command test: proves a custom model on this machine, without a fleet.

The class runs where a worker would run it: in an engine process, on normalized pictures.
"""

import asyncio
import importlib.util
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from PIL import Image, ImageDraw

from captionfleet.catalog.custom_folder import FoundClass, find_classes
from captionfleet.resources.model import Custom, ModelSpec, Source, VolumeSource
from captionfleet_cli.submit.pictures import check_paths, find_pictures
from captionfleet_cli.text import one_line
from captionfleet_cli.trouble import Exit, Trouble

if TYPE_CHECKING:
    from captionfleet_worker.engine_process import EngineProcess

_SIDE, _PIXELS = 1536, 50_000_000


def test(
    file: Annotated[Path, typer.Argument(help="Python file with a CustomModel class.")],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures or folders. Default: a drawn one.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="What to ask, if infer() takes a prompt.")] = "",
    weights: Annotated[
        Path | None, typer.Option(help="Folder with weights, as spec.source.volume would name.")
    ] = None,
) -> None:
    """Load a custom model and caption pictures, here and now, as a worker would.

    Exit code 0 if every picture got a caption.
    """
    if importlib.util.find_spec("transformers") is None:
        raise Trouble("the worker's packages are needed: pip install 'captionfleet[worker]'.")
    check_paths(pictures or ())
    found = _class_in(file)
    print(f"{file}: class {found.name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="captionfleet-test-") as folder:
        log = Path(folder) / "engine.log"
        failures = asyncio.run(_try(found, _load(pictures or ()), prompt, weights, log))
    if failures:
        raise Trouble(f"{failures} of the pictures got no caption.")


def _class_in(file: Path) -> FoundClass:
    """The one class to try. Raises Trouble if the file has none, or is no Python."""
    if not file.is_file():
        raise Trouble(f"there is no file {file}.", Exit.USAGE)
    problems: list[str] = []
    classes = [c for c in find_classes(file.parent, problems) if c.file.name == file.name]
    mine = [problem for problem in problems if problem.startswith(f"{file.parent / file.name}:")]
    if mine:
        raise Trouble(mine[0])
    if not classes:
        raise Trouble(
            f"{file} has no class that extends CustomModel: write `from captionfleet import "
            "CustomModel` and `class Mine(CustomModel):`."
        )
    if len(classes) > 1:
        names = ", ".join(each.name for each in classes)
        print(f"{file} has several classes ({names}); the first is tried")
    return classes[0]


def _load(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    """(name, normalized picture): the same pixels that a worker would get."""
    from captionfleet_api.images.normalize import BadPicture, normalize

    named = [(each.filename, each.path.read_bytes()) for each in find_pictures(paths)]
    loaded = []
    for name, file in named or [("a drawn picture", drawn_picture())]:
        try:
            loaded.append((name, normalize(file, side=_SIDE, pixels=_PIXELS).picture))
        except BadPicture as error:
            raise Trouble(f"{name}: {error.message}", Exit.USAGE) from None
    return loaded


def drawn_picture() -> bytes:
    """A red circle left of a blue square on white, as PNG."""
    image = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((30, 90, 110, 170), fill="red")
    pen.rectangle((146, 90, 226, 170), fill="blue")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


async def _try(
    found: FoundClass,
    pictures: Sequence[tuple[str, bytes]],
    prompt: str,
    weights: Path | None,
    log: Path,
) -> int:
    """Load, caption, print. Returns how many pictures got no caption. Raises Trouble."""
    from captionfleet_worker.engine_process import EngineOrder, EngineProcess, LoadFailed

    order = EngineOrder(
        model=found.module,
        spec=_spec(found, weights),
        device="cpu",
        threads=1,
        custom_infer=found.file.parent.resolve(),
        cache=None,
        rooms=log.parent,
        log_file=log,
    )
    try:
        engine = await EngineProcess.start(order, lambda phase, sentence: None)
    except LoadFailed as error:
        # Otherwise the message names file and line itself.
        printed = _tail(log) if error.reason == "EngineDied" else ""
        raise Trouble(f"not loaded: {error.message}\n{printed}".rstrip()) from None
    try:
        print(f"loaded in {engine.loaded.load_seconds:.1f} s, "
              f"{engine.memory_bytes() / 1e6:.0f} MB", flush=True)  # fmt: skip
        return await _caption(engine, pictures, prompt, log)
    finally:
        await engine.stop()


async def _caption(
    engine: "EngineProcess", pictures: Sequence[tuple[str, bytes]], prompt: str, log: Path
) -> int:
    from captionfleet_worker.engine_process import EngineDied, EngineTimeout, Shot

    failures = 0
    for name, picture in pictures:
        started = time.monotonic()
        try:
            [answer] = await engine.run([Shot(picture, prompt)], {})
        except (EngineDied, EngineTimeout) as error:
            raise Trouble(f"{name}: {error}\n{_tail(log)}".rstrip()) from None
        if answer.text is None:
            failures += 1
            print(f"{name}: failed ({answer.error_code}): {answer.error_message}", flush=True)
        else:
            seconds = time.monotonic() - started
            print(f"{name}: {one_line(answer.text)}  ({seconds:.2f} s)", flush=True)
    return failures


def _spec(found: FoundClass, weights: Path | None) -> ModelSpec:
    custom = Custom(entrypoint=found.entrypoint)
    if weights is None:
        return ModelSpec(custom=custom)
    source = Source(volume=VolumeSource(path=str(weights.resolve())))
    return ModelSpec(custom=custom, source=source)


def _tail(log: Path) -> str:
    """What the engine printed last: a traceback names file and line."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-15:])
