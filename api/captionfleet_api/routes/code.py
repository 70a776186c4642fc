"""The doors of uploaded code: send it, look at its versions, change arguments, go back.

Whoever enters runs code on the workers. All doors ask for the token where there is one; those
that write are shut where the settings say so.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.datastructures import FormData, UploadFile

from captionfleet.code_check import LARGEST_FILE, LARGEST_UPLOAD, MOST_FILES
from captionfleet_api.code.diff import diff
from captionfleet_api.code.history import current
from captionfleet_api.code.publishing import Published
from captionfleet_api.code.requests import CodeAsked, KwargsAsked, RollbackAsked
from captionfleet_api.code.shapes import (
    CheckShape,
    VersionDetailShape,
    VersionShape,
    check_shape,
    detail_shape,
    version_shape,
)
from captionfleet_api.jobs.shapes import Page
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.documentation import body_of
from captionfleet_api.routes.forms import files_in, form_of, is_form, json_body, text_in
from captionfleet_api.routes.manifests import DryRun
from captionfleet_api.routes.problems import Problem
from captionfleet_api.store.tables import CodeVersion

_FIELDS = ("files", "name", "entrypoint", "kwargs", "source")
_LARGEST_BODY = 2 * 2**20


def _taken(api: Api) -> None:
    if refusal := api.settings.code_refusal:
        raise Problem(403, refusal)


router = APIRouter(prefix="/models/custom", tags=["own code"])
_TAKEN = [Depends(_taken)]


@router.post(
    "",
    status_code=201,
    max_body_size=_LARGEST_BODY,
    dependencies=_TAKEN,
    openapi_extra=body_of(CodeAsked, _FIELDS),
)
async def upload(
    request: Request, response: Response, api: Api, dry_run: DryRun = None
) -> VersionShape | CheckShape:
    """Send Python files with a class that extends CustomModel: they become a model.

    Sent again under the same name they become its next version; 200 if nothing has changed.
    """
    asked = await _asked(request)
    if dry_run:
        response.status_code = 200
        return check_shape(await api.publishing.judge(asked))
    return await _told(api, response, await api.publishing.upload(asked))


@router.get("/{name}/versions")
async def versions(name: str, api: Api) -> Page[VersionShape]:
    """All versions, newest first; those of a deleted model too."""
    found = await _versions(api, name)
    now = current(found, api.catalog.models().get(name))
    return Page(items=[version_shape(each, now) for each in found])


@router.get("/{name}/versions/{number}")
async def version(
    name: str,
    number: int,
    api: Api,
    against: Annotated[
        int | None, Query(ge=1, description="Compare with this one. Default: the one before.")
    ] = None,
) -> VersionDetailShape:
    """Its code, and what changed from the version before."""
    found = await _versions(api, name)
    this = _numbered(found, name, number)
    before = next((each for each in found if each.number < number), None)
    if against is not None:
        before = _numbered(found, name, against)
    text = await asyncio.to_thread(diff, before, this)
    now = current(found, api.catalog.models().get(name))
    return detail_shape(this, now, text, before.number if before else None)


@router.put("/{name}/kwargs", status_code=201, dependencies=_TAKEN)
async def change_kwargs(
    name: str, asked: KwargsAsked, response: Response, api: Api
) -> VersionShape:
    """Run the newest version's code with other arguments: a version of its own."""
    return await _told(api, response, await api.publishing.change_kwargs(name, asked.kwargs))


@router.post("/{name}/rollback", status_code=201, dependencies=_TAKEN)
async def roll_back(name: str, asked: RollbackAsked, response: Response, api: Api) -> VersionShape:
    """Run an earlier version's code and arguments again: a version of its own."""
    return await _told(api, response, await api.publishing.roll_back(name, asked.version))


async def _told(api: Parts, response: Response, published: Published) -> VersionShape:
    version = published.version
    if not published.created:
        response.status_code = 200
    response.headers["Location"] = (
        f"/api/v1/models/custom/{version.model}/versions/{version.number}"
    )
    return version_shape(version, version.number)


async def _versions(api: Parts, name: str) -> list[CodeVersion]:
    if found := await api.history.versions(name):
        return list(found)
    raise Problem(404, f"no code was uploaded for a model named {name!r}")


def _numbered(versions: list[CodeVersion], name: str, number: int) -> CodeVersion:
    if found := next((each for each in versions if each.number == number), None):
        return found
    known = ", ".join(str(each.number) for each in versions[:30])
    raise Problem(404, f"CaptionModel {name} has no version {number}; there are {known}")


# What is sent


async def _asked(request: Request) -> CodeAsked:
    if not is_form(request):
        document = _decoded(await json_body(request), "the body")
        for path, content in _texts_in(document):
            _check_size(path, content.encode(errors="replace"))
        return CodeAsked.model_validate(document)
    async with form_of(request, [*_FIELDS, "file"]) as form:
        texts = {name: text_in(form, name) for name in ("name", "entrypoint")}
        parts = {name: text_in(form, name) for name in ("kwargs", "source")}
        given: dict[str, Any] = {name: text for name, text in texts.items() if text}
        given |= {name: _decoded(text, name) for name, text in parts.items() if text}
        return CodeAsked.model_validate({**given, "files": await _files(form)})


def _texts_in(document: Any) -> Iterator[tuple[str, str]]:
    """(path, content) of the files in a JSON body that nobody has judged yet."""
    files = document.get("files") if isinstance(document, dict) else None
    for each in files if isinstance(files, list) else ():
        if isinstance(each, dict):
            yield str(each.get("path")), str(each.get("content"))


async def _files(form: FormData) -> list[dict[str, str]]:
    files = files_in(form, "files", "file")
    if len(files) > MOST_FILES:
        raise Problem(422, f"files: {len(files)} files: send at most {MOST_FILES}", field="files")
    return [{"path": each.filename or "", "content": await _text(each)} for each in files]


async def _text(file: UploadFile) -> str:
    content = await file.read(LARGEST_UPLOAD)
    _check_size(file.filename or "", content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        told = f"{file.filename}: not UTF-8 text: save it as UTF-8, and send .py files only"
        raise Problem(422, told, field="files") from None


def _check_size(path: str, content: bytes) -> None:
    if len(content) > LARGEST_FILE:
        told = (
            f"{path}: above the limit of {LARGEST_FILE // 1000} kB for a file: move data out of "
            "the code"
        )
        raise Problem(413, told, field="files", code="too_large")


def _decoded(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(422, f"{what} is not readable as JSON: correct it", field=what) from None
