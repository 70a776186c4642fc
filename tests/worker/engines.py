"""How the engine's tests start real engines, and what they show them."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from tests.conftest import SHAPES
from tests.worker.hubs import supplied

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine_process import Answer, EngineOrder, EngineProcess, Shot

TRUTH: dict[str, dict[str, Any]] = json.loads((SHAPES / "pictures" / "truth.json").read_text())


def order_for(
    spec: dict[str, Any], place: Path, *, cache: Path | None = None, offline: bool = False
) -> EngineOrder:
    """An order on the CPU; custom code is sought in `place`, the log is written there."""
    return EngineOrder(
        model="m", spec=ModelSpec.model_validate(spec), device="cpu", threads=1,
        custom_infer=place, cache=cache, rooms=place / "rooms",
        log_file=place / "logs" / "m.log", offline=offline,
    )  # fmt: skip


@asynccontextmanager
async def engine_of(order: EngineOrder) -> AsyncIterator[EngineProcess]:
    """A loaded engine, its files fetched before, ended afterwards."""
    engine = await EngineProcess.start(await supplied(order), lambda sentence: None)
    try:
        yield engine
    finally:
        await engine.stop()


def shapes_spec(name: str, **more: Any) -> dict[str, Any]:
    path = str(SHAPES / "models" / name)
    return {"source": {"volume": {"path": path}}, "generation": {"maxNewTokens": 32}, **more}


def custom_spec(place: Path, code: str, **more: Any) -> dict[str, Any]:
    """A spec for class Own in own.py, with this code."""
    (place / "own.py").write_text(code)
    return {"custom": {"entrypoint": "own:Own"}, "acceptance": {"smokeTest": False}, **more}


def normalized(name: str) -> bytes:
    """A sample picture as the api stores it: upright, on white, RGB."""
    with Image.open(SHAPES / "pictures" / name) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGBA")
    paper = Image.new("RGBA", upright.size, "white")
    paper.alpha_composite(upright)
    buffer = io.BytesIO()
    paper.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def plain(color: str = "red", size: tuple[int, int] = (32, 32)) -> bytes:
    """A picture of one color."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


async def ask(engine: EngineProcess, pictures: list[bytes], prompt: str = "") -> list[Answer]:
    """Caption pictures in batches of eight, as an agent would."""
    answers: list[Answer] = []
    for start in range(0, len(pictures), 8):
        batch = [Shot(picture, prompt) for picture in pictures[start : start + 8]]
        answers += await engine.run(batch, {})
    return answers
