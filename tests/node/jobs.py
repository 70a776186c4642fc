"""Submitting pictures to an installation, and waiting for every answer."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from captionfleet.client import Client, Task


async def submit(client: Client, pictures: Mapping[str, bytes], models: Sequence[str]) -> str:
    """Upload all and make one job; returns its id."""
    images = []
    for name, content in pictures.items():
        image = await client.upload(content, name)
        images.append((image.id, name))
    return (await client.create_job(images, models)).id


async def finished(client: Client, job: str, *, seconds: float) -> list[Task]:
    """Every task, once none is open."""
    deadline = time.monotonic() + seconds
    while (found := await client.job(job)).counts.open:
        assert time.monotonic() < deadline, f"open after {seconds} s: {found.counts}"
        await asyncio.sleep(0.2)
    return [task async for task in client.tasks(job)]


def captioned_by(tasks: Sequence[Task]) -> set[str]:
    """Workers that answered."""
    return {task.caption.worker for task in tasks if task.caption and task.caption.worker}
