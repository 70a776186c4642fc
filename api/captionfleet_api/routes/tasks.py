"""The doors of tasks: lists, the grid, the summary of its columns, stars, retry."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs import ending
from captionfleet_api.jobs.shapes import GridRow, Page, Summary, TaskShape
from captionfleet_api.jobs.summary import summary
from captionfleet_api.jobs.task_reading import (
    ShownState,
    TaskFilter,
    grid_page,
    task_page,
    task_shape,
)
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.paging import Cursor, Limit, cursor_of, number_of, place_of
from captionfleet_api.routes.problems import Problem
from captionfleet_api.store.tables import Job

Search = Annotated[str | None, Query(max_length=200, description="Text in caption or file name.")]

router = APIRouter(tags=["tasks"])


@router.get("/jobs/{job_id}/tasks")
async def tasks(
    job_id: str,
    api: Api,
    limit: Limit = 50,
    cursor: Cursor = None,
    column: str | None = None,
    model: str | None = None,
    state: ShownState | None = None,
    q: Search = None,
) -> Page[TaskShape]:
    """Tasks of the job, oldest first."""
    async with api.database.read() as session:
        await _must_exist(session, job_id)
        found = await task_page(
            session, api.fleet_view, job_id, TaskFilter(column, model, state, q),
            limit=limit, after=place_of(cursor) or "",
        )  # fmt: skip
    more = len(found) == limit
    return Page(items=found, next=cursor_of(found[-1].id) if more else None)


@router.get("/jobs/{job_id}/grid")
async def grid(
    job_id: str,
    api: Api,
    limit: Limit = 50,
    cursor: Cursor = None,
    start: Annotated[int, Query(ge=0, description="Position of the first row.")] = 0,
    q: Search = None,
) -> Page[GridRow]:
    """Rows of the grid: a picture with its tasks by column."""
    async with api.database.read() as session:
        await _must_exist(session, job_id)
        found = await grid_page(
            session, api.fleet_view, job_id,
            limit=limit, start=number_of(cursor) if cursor else start, q=q,
        )  # fmt: skip
    more = len(found) == limit
    return Page(items=found, next=cursor_of(str(found[-1].position + 1)) if more else None)


@router.get("/jobs/{job_id}/summary")
async def summarized(job_id: str, api: Api) -> Summary:
    """What each column comes to."""
    async with api.database.read() as session:
        await _must_exist(session, job_id)
        return await summary(session, job_id)


@router.get("/tasks/{task_id}")
async def task(task_id: str, api: Api) -> TaskShape:
    return await _shown(api, task_id)


@router.put("/tasks/{task_id}/star")
async def star(task_id: str, api: Api) -> TaskShape:
    """Mark its caption as a good one."""
    await ending.star(api.database, api.changes, task_id, True)
    return await _shown(api, task_id)


@router.delete("/tasks/{task_id}/star")
async def unstar(task_id: str, api: Api) -> TaskShape:
    await ending.star(api.database, api.changes, task_id, False)
    return await _shown(api, task_id)


@router.post("/tasks/{task_id}/retry")
async def retry(task_id: str, api: Api) -> TaskShape:
    """Try a failed or cancelled task again."""
    await ending.retry_task(api.database, api.changes, task_id)
    return await _shown(api, task_id)


async def _must_exist(session: AsyncSession, job_id: str) -> None:
    if await session.get(Job, job_id) is None:
        raise Problem(404, f"there is no job {job_id}")


async def _shown(api: Parts, task_id: str) -> TaskShape:
    async with api.database.read() as session:
        found = await task_shape(session, api.fleet_view, task_id)
    if found is None:
        raise Problem(404, f"there is no task {task_id}")
    return found
