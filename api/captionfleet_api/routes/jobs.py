"""The doors of jobs that are there: look, add columns, cancel, retry, delete, export."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Body, Query
from fastapi.responses import StreamingResponse

from captionfleet_api.jobs import ending
from captionfleet_api.jobs.export import ExportFormat, export, safe_name
from captionfleet_api.jobs.job_reading import job_page
from captionfleet_api.jobs.requests import ColumnsAsked, RetryAsked
from captionfleet_api.jobs.shapes import JobShape, Page
from captionfleet_api.parts import Api
from captionfleet_api.routes.job_making import shown_job
from captionfleet_api.routes.paging import Cursor, Limit, cursor_of, place_of

router = APIRouter(prefix="/jobs", tags=["jobs"])
_ALL_FAILED = RetryAsked()


@router.get("")
async def jobs(api: Api, limit: Limit = 50, cursor: Cursor = None) -> Page[JobShape]:
    """All jobs, newest first."""
    async with api.database.read() as session:
        found = await job_page(session, api.fleet_view, limit=limit, before=place_of(cursor))
    more = len(found) == limit
    return Page(items=found, next=cursor_of(found[-1].id) if more else None)


@router.get("/{job_id}")
async def job(job_id: str, api: Api) -> JobShape:
    return await shown_job(api, job_id)


@router.delete("/{job_id}", status_code=204)
async def delete(job_id: str, api: Api) -> None:
    """Remove the job, its captions and its stars."""
    await api.flow.recall(await ending.delete_job(api.database, api.changes, job_id))


@router.post("/{job_id}/columns")
async def add_columns(job_id: str, asked: ColumnsAsked, api: Api) -> JobShape:
    """Ask more of the job's pictures: every model with every prompt."""
    await api.submission.add_columns(job_id, asked)
    return await shown_job(api, job_id)


@router.post("/{job_id}/cancel")
async def cancel(job_id: str, api: Api) -> JobShape:
    """Cancel what still waits or runs. Captions that are there stay."""
    await api.flow.recall(await ending.cancel(api.database, api.changes, job_id))
    return await shown_job(api, job_id)


@router.post("/{job_id}/retry")
async def retry(
    job_id: str, api: Api, asked: Annotated[RetryAsked, Body()] = _ALL_FAILED
) -> JobShape:
    """Try all failed tasks again, or those of one column."""
    await ending.retry_failed(api.database, api.changes, job_id, asked.column)
    return await shown_job(api, job_id)


@router.get("/{job_id}/export", response_class=StreamingResponse)
async def exported(
    job_id: str,
    api: Api,
    format: Annotated[
        ExportFormat,
        Query(
            description="jsonl and csv: a line per task. txt: a line per caption, as file name, "
            "column and caption with tabs between. zip: a .txt per picture; with several columns "
            "each has a folder."
        ),
    ] = ExportFormat.JSONL,
) -> StreamingResponse:
    """The job's captions as one file, streamed."""
    found = await shown_job(api, job_id)
    name = quote(f"{safe_name(found.name) or 'captions'}.{format}")
    return StreamingResponse(
        export(api.database, api.fleet_view, job_id, found.columns, format),
        media_type=format.media_type,
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )
