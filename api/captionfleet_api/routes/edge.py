"""The outermost layer around every request: request id, security headers, durations, and a
problem instead of a bare error.
"""

import time
from http import HTTPStatus

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captionfleet.ids import new_id
from captionfleet_api import metrics
from captionfleet_api.routes.problems import MEDIA_TYPE, problem_response

log = structlog.get_logger()

_REQUEST_ID = "captionfleet.request_id"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; base-uri 'self'",
}


class Edge:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        app = _refuse_nul if _has_nul(scope) else self.app
        try:
            await app(scope, receive, answer.send)
        finally:
            answer.measure()


class Failures:
    """ASGI middleware inside Edge: an unforeseen exception becomes a problem, told in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http" or isinstance(error, HTTPException):
                raise  # the connection must break: half an answer must not look whole
            request_id = scope.get(_REQUEST_ID, "")
            log.exception("a request failed", path=scope["path"], request_id=request_id)
            detail = (
                f"the api failed in a way it should not ({type(error).__name__}); its log tells "
                "more under this request id"
            )
            response = problem_response(500, detail, request_id=request_id)
            await response(scope, receive, send)


class _Answer:
    """What is sent for one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_REQUEST_ID] = new_id()
        self._scope, self._receive, self._send = scope, receive, send
        self._since = time.monotonic()
        self._status = 0
        self._streams = False
        self._replaced = False

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            if not self._replaced:
                await self._send(message)
            return
        headers = MutableHeaders(scope=message)
        too_large = message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if too_large and headers.get("content-type") != MEDIA_TYPE:
            # The framework's own limit on bodies answers in plain text.
            self._replaced = True
            await self._too_large()
            return
        self._status = message["status"]
        self._streams = headers.get("content-type", "").startswith("text/event-stream")
        self._dress(headers)
        await self._send(message)

    def measure(self) -> None:
        if not self._streams:
            route = _route(self._scope)
            metrics.requests.labels(self._scope["method"], route, self._status).observe(
                time.monotonic() - self._since
            )

    async def _too_large(self) -> None:
        limit = self._scope.get(MAX_BODY_SIZE_SCOPE_KEY, 0)
        self._status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        response = problem_response(
            self._status,
            f"the request is larger than the {limit / 1e6:.4g} MB that are taken here: send less",
            code="too_large",
        )
        self._dress(response.headers)
        await response(self._scope, self._receive, self._send)

    def _dress(self, headers: MutableHeaders) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers["X-Request-ID"] = self._scope[_REQUEST_ID]
        if self._scope["path"].startswith("/api/"):
            headers.setdefault("Cache-Control", "no-store")


def _has_nul(scope: Scope) -> bool:
    return "\x00" in scope["path"] or b"%00" in scope["query_string"]


async def _refuse_nul(scope: Scope, receive: Receive, send: Send) -> None:
    """No name of anything contains it, and not every database can be asked for it."""
    detail = "the address contains the character NUL (%00): remove it"
    await problem_response(422, detail)(scope, receive, send)


def _route(scope: Scope) -> str:
    """The route's own path, with its parameters unfilled: few enough to be counted by."""
    path = getattr(scope.get("route"), "path", None)
    return f"{scope.get('root_path', '')}{path}" if path else "other"
