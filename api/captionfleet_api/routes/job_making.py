"""The doors that make work: POST /jobs, and POST /captions for one picture with all its answers."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import TypeAdapter
from starlette.datastructures import FormData, UploadFile

from captionfleet_api import metrics
from captionfleet_api.images.normalize import BadPicture
from captionfleet_api.jobs.events import either
from captionfleet_api.jobs.job_reading import job_shape, job_state
from captionfleet_api.jobs.orders import Order, Rejected
from captionfleet_api.jobs.refusals import Refusal
from captionfleet_api.jobs.requests import CaptionsAsked, Filename, ImageAsked, JobAsked
from captionfleet_api.jobs.shapes import CaptionsShape, JobShape
from captionfleet_api.jobs.task_reading import TaskFilter, task_page
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.documentation import body_of
from captionfleet_api.routes.forms import columns_in, files_in, form_of, is_form, json_body, text_in
from captionfleet_api.routes.images import blamed_on, take_file
from captionfleet_api.routes.problems import Problem
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.tables import JobState

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same request under the same key makes one job, however often it is sent.",
    ),
]
Wait = Annotated[
    float, Query(ge=0, le=300, description="Seconds to wait for the answers; then 202.")
]
_JOB_FIELDS = ("files", "file", "models", "prompt", "preset", "options", "name", "priority")
_CAPTIONS_FIELDS = ("file", "models", "prompt", "preset", "options")
_FILES_AT_ONCE = 4
_MOST_SHOWN = 10_000
_FILENAME: TypeAdapter[str] = TypeAdapter(Filename)


def job_making_router(settings: ApiSettings) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    form_limit = settings.form_limit_bytes

    @router.post(
        "/jobs",
        status_code=202,
        max_body_size=form_limit,
        openapi_extra=body_of(JobAsked, _JOB_FIELDS),
    )
    async def make(request: Request, response: Response, api: Api, key: Key = None) -> JobShape:
        """Make a job: every picture is captioned in every column (model x prompt).

        Files of a form that cannot be used are listed in `rejected`; the others go on.
        """
        if is_form(request):
            async with form_of(request, _JOB_FIELDS) as form:
                order = await _order_of_form(api, form, key)
        else:
            order = _order_of_json(JobAsked.model_validate_json(await json_body(request)), key)
        job = await shown_job(api, await _submit(api, request, order))
        response.headers["Location"] = f"/api/v1/jobs/{job.id}"
        return job

    @router.post(
        "/captions",
        max_body_size=form_limit,
        openapi_extra=body_of(CaptionsAsked, _CAPTIONS_FIELDS),
        responses={202: {"model": CaptionsShape, "description": "The wait ended first."}},
    )
    async def captions(
        request: Request, response: Response, api: Api, wait: Wait = 30, key: Key = None
    ) -> CaptionsShape:
        """Caption one picture and wait for all its answers.

        When the wait ends first: 202 with what there is; the job goes on.
        """
        if is_form(request):
            async with form_of(request, _CAPTIONS_FIELDS) as form:
                order = await _picture_of_form(api, form, key)
        else:
            asked = CaptionsAsked.model_validate_json(await json_body(request))
            order = _picture_of_json(asked, key)
        job = await _submit(api, request, order)
        if not await _ended(api, job, wait):
            response.status_code = 202
        response.headers["Location"] = f"/api/v1/jobs/{job}"
        return await _captions(api, job)

    return router


async def shown_job(api: Parts, job_id: str) -> JobShape:
    """Raises Problem if there is none."""
    async with api.database.read() as session:
        job = await job_shape(session, api.fleet_view, job_id)
    if job is None:
        raise Problem(404, f"there is no job {job_id}")
    return job


async def _captions(api: Parts, job: str) -> CaptionsShape:
    async with api.database.read() as session:
        tasks = await task_page(session, api.fleet_view, job, TaskFilter(), limit=_MOST_SHOWN)
    return CaptionsShape(job=await shown_job(api, job), tasks=tasks)


async def _submit(api: Parts, request: Request, order: Order) -> str:
    try:
        return await api.submission.submit(order)
    except Refusal as refusal:
        if is_form(request) and (refusal.field or "").startswith("prompts."):
            refusal.field = "preset"  # what is called prompts.N.name in JSON
        raise


def _order_of_json(asked: JobAsked, key: str | None) -> Order:
    return Order(
        asked.columns_only(), asked.images, name=asked.name,
        priority=asked.priority, key=key,
    )  # fmt: skip


def _picture_of_json(asked: CaptionsAsked, key: str | None) -> Order:
    return Order(asked.columns_only(), [asked.image], priority="interactive", key=key)


async def _order_of_form(api: Parts, form: FormData, key: str | None) -> Order:
    files = files_in(form, "files", "file")
    if not files:
        raise Problem(422, "no files: send pictures as `files`", field="files")
    asked = JobAsked.model_validate(
        {**columns_in(form), "images": ["files"], "name": text_in(form, "name") or "",
         "priority": text_in(form, "priority")}
    )  # fmt: skip
    taken = await _take_all(api, files)
    return Order(
        asked.columns_only(),
        images=[each for each in taken if isinstance(each, ImageAsked)],
        rejected=[each for each in taken if isinstance(each, Rejected)],
        name=asked.name,
        priority=asked.priority,
        key=key,
    )


async def _picture_of_form(api: Parts, form: FormData, key: str | None) -> Order:
    files = files_in(form, "file")
    if len(files) != 1:
        raise Problem(422, f"{len(files)} files: send one picture as `file`", field="file")
    asked = CaptionsAsked.model_validate({**columns_in(form), "image": "file"})
    name = _filename(files[0])
    with blamed_on(name):
        image = await take_file(api, files[0])
    picture = ImageAsked(id=image.id, filename=name)
    return Order(asked.columns_only(), [picture], priority="interactive", key=key)


async def _take_all(api: Parts, files: Sequence[UploadFile]) -> list[ImageAsked | Rejected]:
    """Keep the files, some at once; an unusable one is told and hinders no other."""
    turn = asyncio.Semaphore(_FILES_AT_ONCE)

    async def take(file: UploadFile) -> ImageAsked | Rejected:
        name = _filename(file)
        async with turn:
            try:
                return ImageAsked(id=(await take_file(api, file)).id, filename=name)
            except BadPicture as error:
                metrics.rejected.labels(error.code).inc()
                return Rejected(name, error.code, error.message)

    return await asyncio.gather(*(take(file) for file in files))


def _filename(file: UploadFile) -> str:
    return _FILENAME.validate_python((file.filename or "")[:1024])


async def _ended(api: Parts, job: str, seconds: float) -> bool:
    """Wait until the job is not running any more, or was deleted; false if that takes longer."""
    deadline = time.monotonic() + seconds
    with api.changes.following(job) as changed:
        while True:
            changed.clear()
            async with api.database.read() as session:
                state = await job_state(session, job)
            if state != JobState.RUNNING:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or api.ending.is_set():
                return False
            await either(changed, api.ending, left)
