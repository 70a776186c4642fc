"""GET /jobs/{id}/events: a job's changes as server-sent events, resumable by their ids."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from captionfleet_api.jobs.events import Event, Story
from captionfleet_api.parts import Api
from captionfleet_api.routes.job_making import shown_job

router = APIRouter(tags=["jobs"])
Number = Annotated[int | None, Query(ge=0, description="Resume after this change number.")]


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def events(
    job_id: str,
    api: Api,
    last_event_id: Number = None,
    last_event: Annotated[int | None, Header(alias="Last-Event-ID", ge=0)] = None,
) -> StreamingResponse:
    """Events `task`, `job` and, once the job is not running, `done`; then the stream ends.

    The header Last-Event-ID, or the parameter, resumes; 0 tells everything.
    """
    await shown_job(api, job_id)
    story = Story(api.database, api.fleet_view, api.changes, job_id, api.ending)
    after = last_event if last_event is not None else last_event_id
    return StreamingResponse(
        _encoded(story.tell(after)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _encoded(story: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in story:
        if event.shape is None:
            yield b": still here\n\n"
        else:
            yield format_sse_event(
                event=event.kind,
                data_str=event.shape.model_dump_json(),
                id=None if event.id is None else str(event.id),
            )
