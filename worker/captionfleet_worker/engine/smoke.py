"""The smoke test: a fresh copy captions a picture of ours before it gets any of yours."""

import io

from PIL import Image, ImageDraw

from captionfleet.resources.model import PipelineTag
from captionfleet_worker.engine.answering import Answering
from captionfleet_worker.engine.protocol import LoadFailed, Shot

_MOST_TOKENS = 16


def smoke_picture() -> bytes:
    """A red circle above a blue square on white, as PNG."""
    image = Image.new("RGB", (384, 384), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((122, 30, 262, 170), fill=(220, 30, 30))
    draw.rectangle((127, 214, 257, 344), fill=(30, 60, 220))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def smoke_test(answering: Answering, tag: PipelineTag | None = None) -> None:
    """Raises LoadFailed unless the model captions the picture with its own settings."""
    most = min(_MOST_TOKENS, answering.defaults.max_new_tokens)
    short = answering.defaults.model_copy(update={"max_new_tokens": most, "min_new_tokens": None})
    (answer,) = answering.answer_with([Shot(smoke_picture(), "")], short)
    if answer.error_code == "out_of_memory":
        raise LoadFailed("OutOfMemory", _told(answer.error_message, None), retriable=True)
    if answer.error_code:
        raise LoadFailed("SmokeTestFailed", _told(answer.error_message, tag))


def _told(why: str | None, tag: PipelineTag | None) -> str:
    asked = f", asked as spec.pipelineTag says ({tag})," if tag else ""
    return (
        f"captioning a test picture (a red circle above a blue square){asked} failed: {why}. "
        "If that is meant to be so, set spec.acceptance.smokeTest to false"
    )
