"""The doors of pictures: upload one, look at one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from captionfleet_api.images.normalize import BadPicture
from captionfleet_api.images.uploads import adopt, check_size, receive
from captionfleet_api.jobs.requests import Filename
from captionfleet_api.jobs.shapes import ImageShape
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.forms import declared_length, files_in, form_of, is_form
from captionfleet_api.routes.problems import Problem
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.tables import Image

# A blob never changes under its name, and is shown as what it is and nothing else.
_BLOB_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}
_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "content": {
        "image/*": {"schema": _FILE},
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
        },
    },
    "required": True,
}
_FORM_OVERHEAD = 2**20


def images_router(settings: ApiSettings) -> APIRouter:
    router = APIRouter(prefix="/images", tags=["images"])
    limit = settings.upload_limit_bytes

    @router.post(
        "",
        status_code=201,
        max_body_size=settings.form_limit_bytes,  # so that a large file gets our own words
        openapi_extra={"requestBody": _BODY},
    )
    async def upload(
        request: Request, api: Api, filename: Annotated[Filename, Query()] = ""
    ) -> ImageShape:
        """Send one picture: its bytes as the body, or a form with one file.

        The same bytes have the same id; sending them again is harmless.
        """
        with blamed_on(filename):
            check_size(declared_length(request), limit + _FORM_OVERHEAD * is_form(request))
            if not is_form(request):
                with await receive(request.stream(), limit) as file:
                    return _shape(await api.pictures.take(file), filename)
        async with form_of(request, ["file"]) as form:
            files = files_in(form, "file")
            if len(files) != 1:
                raise Problem(422, f"{len(files)} files: send one as `file`", field="file")
            name = filename or files[0].filename or ""
            with blamed_on(name):
                return _shape(await take_file(api, files[0]), name)

    @router.get("/{image_id}", response_class=Response)
    @router.head("/{image_id}", response_class=Response, include_in_schema=False)
    async def picture(request: Request, image_id: str, api: Api) -> Response:
        """The normalized picture, as models see it."""
        image = await _found(api, image_id)
        if unchanged := _unchanged(request, image):
            return unchanged
        return _blob(await api.blobs.get(image.picture_sha256), image, image.media_type)

    @router.get("/{image_id}/thumbnail", response_class=Response)
    @router.head("/{image_id}/thumbnail", response_class=Response, include_in_schema=False)
    async def thumbnail(request: Request, image_id: str, api: Api) -> Response:
        """A JPEG of at most 256 pixels a side."""
        image = await _found(api, image_id)
        if unchanged := _unchanged(request, image):
            return unchanged
        return _blob(await api.blobs.thumbnail(image.picture_sha256), image, "image/jpeg")

    return router


async def take_file(api: Parts, file: UploadFile) -> Image:
    """Keep a file of a form. Raises BadPicture or TooBusy."""
    with await adopt(file.file, api.settings.upload_limit_bytes) as upload:
        return await api.pictures.take(upload)


@contextmanager
def blamed_on(filename: str) -> Iterator[None]:
    """Name the file in what is said against it."""
    try:
        yield
    except BadPicture as error:
        named = f"{filename}: {error.message}" if filename else error.message
        raise BadPicture(error.code, named) from None


async def _found(api: Parts, image_id: str) -> Image:
    image = await api.pictures.find(image_id)
    if image is None:
        raise Problem(404, f"there is no image {image_id}")
    return image


def _unchanged(request: Request, image: Image) -> Response | None:
    known = request.headers.get("if-none-match", "")
    if _etag(image) in [each.strip() for each in known.split(",")]:
        return Response(status_code=304, headers={"ETag": _etag(image), **_BLOB_HEADERS})
    return None


def _blob(content: bytes, image: Image, media_type: str) -> Response:
    suffix = media_type.removeprefix("image/").replace("jpeg", "jpg")
    shown_as = {"Content-Disposition": f'inline; filename="{image.id[:16]}.{suffix}"'}
    headers = {"ETag": _etag(image), **_BLOB_HEADERS, **shown_as}
    return Response(content, media_type=media_type, headers=headers)


def _etag(image: Image) -> str:
    return f'"{image.picture_sha256}"'


def _shape(image: Image, filename: str) -> ImageShape:
    return ImageShape(
        id=image.id, sha256=image.id, filename=filename, width=image.width, height=image.height
    )
