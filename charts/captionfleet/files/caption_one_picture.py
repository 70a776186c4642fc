"""Runs in the pod of `helm test`: a picture goes through the api, a caption must come back."""

import asyncio
import io
import os
import sys

from PIL import Image, ImageDraw

from captionfleet.client import ApiProblem, Client, ServerUnreachable


async def main() -> None:
    seconds = float(os.environ["SECONDS_TO_WAIT"])
    url, token = os.environ["CAPTIONFLEET_URL"], os.environ["CAPTIONFLEET_TOKEN"]
    try:
        async with Client(url, token, patience=seconds) as client:
            await _caption(client, os.environ["MODEL"] or await _first_ready(client), seconds)
    except (ApiProblem, ServerUnreachable) as error:
        sys.exit(f"helm test: {error}")


async def _caption(client: Client, model: str, seconds: float) -> None:
    answer = await client.captions(picture(), [model], filename="circle.png", wait=seconds)
    [task] = answer.tasks
    if task.caption is None:
        why = (task.error.message if task.error else task.reason) or "no reason given"
        sys.exit(f"helm test: no caption by {model} in {seconds:.0f} s, {task.state}: {why}")
    print(f"helm test: {model} sees: {task.caption.text}")


async def _first_ready(client: Client) -> str:
    """The first model that is ready, else the first; at least one is needed."""
    models = await client.manifests("models")
    names = [str(each["metadata"]["name"]) for each in sorted(models, key=_is_waiting)]
    if not names:
        sys.exit("helm test: there is no model; apply one, or install with quickstart.enabled=true")
    return names[0]


def _is_waiting(model: dict[str, object]) -> bool:
    status = model.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def picture() -> bytes:
    """A red circle on white."""
    image = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(image).ellipse((56, 56, 168, 168), fill="red")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
