"""Client: one method per REST door, pages and streams as async iterators."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx

from captionfleet.client.shapes import (
    Captions,
    CodeVersion,
    ColumnSummary,
    Event,
    Fleet,
    GridRow,
    Image,
    Job,
    Override,
    Prompt,
    Shape,
    Task,
    Worker,
)
from captionfleet.client.transport import ApiProblem, Transport
from captionfleet.ids import new_id

Document = dict[str, Any]
"""A manifest as the api gives and takes it: apiVersion, kind, metadata, spec, status."""
Kind = Literal["models", "pools"]

Content = bytes | AsyncIterator[bytes]

_PAGE = 500
_PIECE = 2**18
_FILE_REFUSED = (400, 413, 415, 422)
S = TypeVar("S", bound=Shape)


@dataclass(frozen=True)
class Picture:
    """A file to upload, under the name it shall have in the job."""

    path: Path
    filename: str
    image: str | None = None
    """Its id (sha256 of the file), if known: then it is sent only if the server lacks it."""


@dataclass(frozen=True)
class Uploaded:
    picture: Picture
    image: str
    """Its id, to be named in create_job()."""


@dataclass(frozen=True)
class Refused:
    """A file that is no usable picture."""

    picture: Picture
    code: str
    message: str


class Client:
    """`async with Client(url, token) as client:`. Every method raises ApiProblem when the server
    says no, and ServerUnreachable when it stays silent for longer than `patience` seconds, or
    `first_patience` seconds when it never answered yet.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        patience: float = 120,
        first_patience: float | None = None,
    ) -> None:
        self._http = Transport(url, token, patience, first_patience)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    # Pictures

    async def upload(self, picture: Path | bytes, filename: str | None = None) -> Image:
        """Send one picture. Repeating it is harmless: the same bytes have the same id."""
        if isinstance(picture, bytes):
            return await self._upload(lambda: picture, len(picture), filename or "picture")
        size = picture.stat().st_size  # noqa: ASYNC240 - a look at one file
        return await self._upload(lambda: _pieces(picture), size, filename or picture.name)

    async def upload_all(
        self, pictures: Iterable[Picture], *, at_once: int = 8
    ) -> AsyncIterator[Uploaded | Refused]:
        """Send many, `at_once` at a time, and answer in their order. Lazy on both ends."""
        running: deque[asyncio.Task[Uploaded | Refused]] = deque()
        try:
            for picture in pictures:
                running.append(asyncio.create_task(self._try_upload(picture)))
                if len(running) >= at_once:
                    yield await running.popleft()
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def has_image(self, image: str) -> bool:
        """The server holds the picture with this id (sha256 of the file)."""
        try:
            await self._send("HEAD", f"/images/{image}")
        except ApiProblem as problem:
            if problem.status == 404:
                return False
            raise
        return True

    # Jobs

    async def create_job(
        self,
        images: Iterable[str | tuple[str, str]],
        models: Sequence[str],
        *,
        name: str | None = None,
        prompts: Sequence[Prompt | str] = (),
        options: Mapping[str, Any] | None = None,
        priority: Literal["interactive", "batch"] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Make a job of uploaded images, each an id or (id, filename)."""
        body: dict[str, Any] = {
            "images": [
                each if isinstance(each, str) else {"id": each[0], "filename": each[1]}
                for each in images
            ],
            "models": list(models),
            "prompts": _prompts(prompts),
            "options": dict(options or {}),
        }
        body |= {k: v for k, v in {"name": name, "priority": priority}.items() if v}
        headers = {"Idempotency-Key": idempotency_key or new_id()}
        return Job.model_validate_json(
            await self._send("POST", "/jobs", json=body, headers=headers)
        )

    async def job(self, job: str) -> Job:
        return Job.model_validate_json(await self._send("GET", f"/jobs/{job}"))

    def jobs(self) -> AsyncIterator[Job]:
        """All jobs, newest first."""
        return self._pages("/jobs", Job)

    async def delete_job(self, job: str) -> None:
        await self._send("DELETE", f"/jobs/{job}")

    async def cancel(self, job: str) -> Job:
        return Job.model_validate_json(await self._send("POST", f"/jobs/{job}/cancel"))

    async def retry(self, job: str, column: str | None = None) -> Job:
        """Try every failed task of the job, or of one column, again."""
        body = {"column": column} if column else {}
        return Job.model_validate_json(await self._send("POST", f"/jobs/{job}/retry", json=body))

    async def columns(
        self,
        job: str,
        models: Sequence[str],
        *,
        prompts: Sequence[Prompt | str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Job:
        """Add columns to a job: every model with every prompt."""
        body = {
            "models": list(models),
            "prompts": _prompts(prompts),
            "options": dict(options or {}),
        }
        answer = await self._send("POST", f"/jobs/{job}/columns", repeatable=False, json=body)
        return Job.model_validate_json(answer)

    def tasks(
        self,
        job: str,
        *,
        column: str | None = None,
        model: str | None = None,
        state: str | None = None,
        q: str | None = None,
    ) -> AsyncIterator[Task]:
        return self._pages(f"/jobs/{job}/tasks", Task, column=column, model=model, state=state, q=q)

    async def retry_task(self, task: str) -> Task:
        return Task.model_validate_json(await self._send("POST", f"/tasks/{task}/retry"))

    async def star(self, task: str, starred: bool = True) -> Task:
        method = "PUT" if starred else "DELETE"
        return Task.model_validate_json(await self._send(method, f"/tasks/{task}/star"))

    def grid(self, job: str, *, q: str | None = None) -> AsyncIterator[GridRow]:
        """The rows of the job's grid, in their order."""
        return self._pages(f"/jobs/{job}/grid", GridRow, q=q)

    async def summary(self, job: str) -> list[ColumnSummary]:
        found = json.loads(await self._send("GET", f"/jobs/{job}/summary"))
        return [ColumnSummary.model_validate(each) for each in found["columns"]]

    async def export(self, job: str, format: str = "jsonl") -> AsyncIterator[bytes]:
        """The job's captions as jsonl, csv or txt, piece by piece."""
        path = f"/api/v1/jobs/{job}/export"
        async with self._http.stream(path, params={"format": format}) as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def events(self, job: str, after: str = "0") -> AsyncIterator[Event]:
        """Changes of a job from change number `after` on, until it is done.

        A lost connection is taken up again where it broke.
        """
        while True:
            headers = {"Last-Event-ID": after}
            path = f"/api/v1/jobs/{job}/events"
            with suppress(httpx.TransportError):
                async with self._http.stream(path, headers=headers) as response:
                    async for event in _events(response.aiter_lines()):
                        after = event.id or after
                        yield event
                        if event.kind == "done":
                            return
            await asyncio.sleep(0.2)

    async def captions(
        self,
        picture: Path | bytes,
        models: Sequence[str],
        *,
        filename: str | None = None,
        prompt: str = "",
        options: Mapping[str, Any] | None = None,
        wait: float = 30,
    ) -> Captions:
        """Caption one picture with several models and wait for the answers, `wait` seconds long."""
        data: dict[str, Any] = {"models": list(models), "options": json.dumps(dict(options or {}))}
        if prompt:
            data["prompt"] = prompt
        with _file(picture, filename) as files:
            answer = await self._send(
                "POST", "/captions", params={"wait": wait}, files=files, data=data,
                headers={"Idempotency-Key": new_id()}, timeout=httpx.Timeout(wait + 30),
            )  # fmt: skip
        return Captions.model_validate_json(answer)

    # Models, pools, workers

    async def manifests(self, kind: Kind) -> list[Document]:
        items: list[Document] = json.loads(await self._send("GET", f"/{kind}"))["items"]
        return items

    async def manifest(self, kind: Kind, name: str) -> Document:
        found: Document = json.loads(await self._send("GET", f"/{kind}/{name}"))
        return found

    async def create(self, kind: Kind, manifest: Document, *, dry_run: bool = False) -> Document:
        """Add a resource; 409 if there is one of that name."""
        params = {"dryRun": "All"} if dry_run else {}
        found: Document = json.loads(
            await self._send("POST", f"/{kind}", repeatable=False, params=params, json=manifest)
        )
        return found

    async def apply(self, kind: Kind, manifest: Document, *, dry_run: bool = False) -> Document:
        """Create or replace a resource."""
        name = str(manifest.get("metadata", {}).get("name", ""))
        params = {"dryRun": "All"} if dry_run else {}
        found: Document = json.loads(
            await self._send("PUT", f"/{kind}/{name}", params=params, json=manifest)
        )
        return found

    async def delete(self, kind: Kind, name: str) -> None:
        await self._send("DELETE", f"/{kind}/{name}")

    async def upload_code(
        self,
        files: Mapping[str, str],
        *,
        name: str | None = None,
        entrypoint: str | None = None,
        kwargs: Mapping[str, str] | None = None,
        source: Document | None = None,
    ) -> CodeVersion:
        """Send Python files (name -> text) with a captioning class: a model, or its next version.

        What is left out stays as it is; sending the same again changes nothing.
        """
        given = {"name": name, "entrypoint": entrypoint, "kwargs": kwargs, "source": source}
        body: dict[str, Any] = {key: each for key, each in given.items() if each is not None}
        body["files"] = [{"path": path, "content": text} for path, text in files.items()]
        return await self._code_version("POST", "/models/custom", body)

    async def code_versions(self, model: str) -> list[CodeVersion]:
        """Newest first."""
        found = json.loads(await self._send("GET", f"/models/custom/{model}/versions"))
        return [CodeVersion.model_validate(each) for each in found["items"]]

    async def change_kwargs(self, model: str, kwargs: Mapping[str, str]) -> CodeVersion:
        """Run the newest code with these arguments and no others."""
        body = {"kwargs": dict(kwargs)}
        return await self._code_version("PUT", f"/models/custom/{model}/kwargs", body)

    async def roll_back(self, model: str, version: int) -> CodeVersion:
        """Run the code and arguments of an earlier version again, as a new version."""
        body = {"version": version}
        return await self._code_version("POST", f"/models/custom/{model}/rollback", body)

    async def workers(self) -> list[Worker]:
        found = json.loads(await self._send("GET", "/workers"))
        return [Worker.model_validate(each) for each in found["items"]]

    async def override(
        self, worker: str, model: str, state: Literal["loaded", "cached", "absent"]
    ) -> Override:
        """Ask this worker for it over the planner's wish, until it is released or ends."""
        body = {"state": state}
        return Override.model_validate_json(
            await self._send("PUT", f"/workers/{worker}/overrides/{model}", json=body)
        )

    async def override_of(self, worker: str, model: str) -> Override:
        path = f"/workers/{worker}/overrides/{model}"
        return Override.model_validate_json(await self._send("GET", path))

    async def release(self, worker: str, model: str) -> None:
        """Leave the model on this worker to the planner again."""
        await self._send("DELETE", f"/workers/{worker}/overrides/{model}")

    async def fleet(self) -> Fleet:
        """How the installation is: broker, operator, workers, refused manifests."""
        return Fleet.model_validate_json(await self._send("GET", "/fleet"))

    async def accept_offer(self, name: str) -> Document:
        found: Document = json.loads(await self._send("POST", f"/fleet/offers/{name}"))
        return found

    async def _code_version(self, method: str, path: str, body: Document) -> CodeVersion:
        return CodeVersion.model_validate_json(await self._send(method, path, json=body))

    async def _send(self, method: str, path: str, **arguments: Any) -> bytes:
        return (await self._http.request(method, f"/api/v1{path}", **arguments)).content

    async def _upload(self, content: Callable[[], Content], size: int, filename: str) -> Image:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        answer = await self._send(
            "POST", "/images", params={"filename": filename}, content=content, headers=headers
        )
        return Image.model_validate_json(answer)

    async def _try_upload(self, picture: Picture) -> Uploaded | Refused:
        if picture.image and await self.has_image(picture.image):
            return Uploaded(picture, picture.image)
        try:
            image = await self.upload(picture.path, picture.filename)
        except OSError as error:
            return Refused(picture, "unreadable", f"{picture.path}: {error.strerror}")
        except ApiProblem as problem:
            if problem.status not in _FILE_REFUSED:
                raise
            return Refused(picture, problem.code or problem.title, problem.detail or problem.title)
        return Uploaded(picture, image.id)

    async def _pages(self, path: str, shape: type[S], **filters: str | None) -> AsyncIterator[S]:
        params: dict[str, Any] = {k: v for k, v in filters.items() if v} | {"limit": _PAGE}
        while True:
            page = json.loads(await self._send("GET", path, params=params))
            for item in page["items"]:
                yield shape.model_validate(item)
            if not page.get("next"):
                return
            params["cursor"] = page["next"]


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    """A file piece by piece, so that a large one never lies in memory."""
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece


@contextmanager
def _file(picture: Path | bytes, filename: str | None) -> Iterator[dict[str, Any]]:
    """The `file` part of a form. A path is streamed, so a large file never lies in memory."""
    if isinstance(picture, bytes):
        yield {"file": (filename or "picture", picture)}
        return
    with picture.open("rb") as file:
        yield {"file": (filename or picture.name, file)}


def _prompts(prompts: Sequence[Prompt | str]) -> list[dict[str, str]]:
    known = [Prompt(text=each) if isinstance(each, str) else each for each in prompts]
    return [each.model_dump(exclude_defaults=True) for each in known]


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Server-sent events out of the lines of a stream (comments keep the connection alive)."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
            continue
        if "data" in fields and fields.get("event") in ("task", "job", "done"):
            kind, subject = fields["event"], json.loads(fields["data"])
            part = "task" if kind == "task" else "job"
            yield Event.model_validate({"id": fields.get("id", ""), "kind": kind, part: subject})
        fields = {}
