"""Requests that survive an api's restart: retries with back-off, problems as exceptions.

Knows HTTP and nothing of jobs or models.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx

_LONGEST_PAUSE = 10.0
_BUSY = (429, 503)
# Nothing of the request reached the server, so even what must not happen twice may be repeated.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class ServerUnreachable(Exception):
    """No answer from the server, for longer than the client's patience."""


class ApiProblem(Exception):
    """The server answered with a problem (RFC 9457)."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        field: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status, self.title, self.detail, self.field = status, title, detail, field
        self.code = code
        """One word for programs, where there is one: too_large, not_an_image, ..."""


class Transport:
    """One connection pool to one server.

    `patience` is how long, in seconds, a request is repeated while the server cannot be reached
    or says that it is busy; `first_patience` the same until its first answer of all.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        patience: float,
        first_patience: float | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._patience = patience
        self._first_patience = patience if first_patience is None else first_patience
        self._answered = False
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers,
            timeout=httpx.Timeout(60, connect=5, pool=None),
        )  # fmt: skip

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

    async def request(
        self, method: str, path: str, *, repeatable: bool = True, **arguments: Any
    ) -> httpx.Response:
        """Send until answered. `repeatable`: it may arrive twice without harm. `content` may be a
        function that gives the body anew each time.

        Raises ApiProblem, or ServerUnreachable.
        """

        def request() -> httpx.Request:
            content = arguments.get("content")
            anew = {"content": content()} if callable(content) else {}
            return self._http.build_request(method, path, **(arguments | anew))

        return await self._send(request, repeatable=repeatable, whole=True)

    @asynccontextmanager
    async def stream(self, path: str, **arguments: Any) -> AsyncIterator[httpx.Response]:
        """GET whose body the caller reads piece by piece. A break in mid-body is the caller's."""
        response = await self._send(
            lambda: self._http.build_request("GET", path, **arguments),
            repeatable=True,
            whole=False,
        )
        try:
            yield response
        finally:
            await response.aclose()

    async def _send(
        self, request: Callable[[], httpx.Request], *, repeatable: bool, whole: bool
    ) -> httpx.Response:
        """`whole`: the body belongs to the answer; if it breaks off there was none."""
        since, pause = time.monotonic(), 0.1
        while True:
            wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            left = self._time_left(since)
            try:
                response = await self._http.send(request(), stream=True)
                if whole:
                    await response.aread()
            except httpx.TransportError as error:
                if left <= 0 or not (repeatable or isinstance(error, _NEVER_SENT)):
                    raise ServerUnreachable(_why(self.url, error)) from error
            else:
                self._answered = True
                if response.status_code < 400:
                    return response
                problem = await _problem(response)
                if problem.status not in _BUSY or self._time_left(since) <= 0:
                    raise problem
                wait = max(wait, _retry_after(response))
            await asyncio.sleep(min(wait, _LONGEST_PAUSE))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _time_left(self, since: float) -> float:
        patience = self._patience if self._answered else self._first_patience
        return since + patience - time.monotonic()


async def _problem(response: httpx.Response) -> ApiProblem:
    await response.aread()
    await response.aclose()
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return ApiProblem(response.status_code, response.reason_phrase, response.text[:200])
    return ApiProblem(
        response.status_code,
        str(document.get("title") or response.reason_phrase),
        _as_text(document.get("detail")),
        document.get("field"),
        document.get("code"),
    )


def _as_text(detail: Any) -> str:
    return detail if isinstance(detail, str) else "" if detail is None else str(detail)


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _why(url: str, error: Exception) -> str:
    return f"no answer from {url}: {str(error) or type(error).__name__}"
