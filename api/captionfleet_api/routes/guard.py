"""Who may come in: the token, the cookie that stands for it, and where a browser comes from.

`judge` decides, on plain facts; Guard applies it to HTTP and web sockets alike, the console's
included.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum, auto
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from captionfleet_api.routes.problems import problem_response

COOKIE = "captionfleet_token"
_OPEN_PATHS = ("/healthz", "/readyz")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_COOKIE_SECONDS = 30 * 24 * 3600
_DOOR_PAGE = """<!doctype html><html lang="en"><title>captionfleet</title>
<meta name="viewport" content="width=device-width"><body>
<h1>captionfleet</h1><p>%s</p>
<form method="get"><label>Token <input name="token" type="password" autofocus></label>
<button>Open</button></form></body></html>"""


@dataclass(frozen=True)
class Rules:
    """What the settings say about visitors."""

    token: str | None
    local_names_only: bool
    """Without a token on loopback: only names of this machine, or any web page could reach us
    under a name of its own that it points at 127.0.0.1."""

    @property
    def cookie(self) -> str:
        """What the cookie holds: it proves the token and does not tell it."""
        key = (self.token or "").encode()
        return hmac.new(key, b"captionfleet cookie", hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Visit:
    """The facts of one request or web socket that matter here."""

    path: str
    method: str
    """`WEBSOCKET` for web sockets."""
    host: str = ""
    origin: str = ""
    bearer: str = ""
    cookie: str = ""
    query_token: str = ""


class Verdict(Enum):
    PASS = auto()
    SET_COOKIE = auto()
    """The token came in the address: make it a cookie and take it out of sight."""
    WRONG_HOST = auto()
    FOREIGN_ORIGIN = auto()
    UNKNOWN = auto()


def judge(rules: Rules, visit: Visit) -> Verdict:
    if rules.local_names_only and _hostname(visit.host) not in _LOOPBACK_NAMES:
        return Verdict.WRONG_HOST
    if visit.path in _OPEN_PATHS:
        return Verdict.PASS
    if rules.token is None:
        return Verdict.FOREIGN_ORIGIN if _foreign(visit) else Verdict.PASS
    if visit.bearer:
        return Verdict.PASS if _same(visit.bearer, rules.token) else Verdict.UNKNOWN
    if visit.query_token and visit.method == "GET":
        return Verdict.SET_COOKIE if _same(visit.query_token, rules.token) else Verdict.UNKNOWN
    if not _same(visit.cookie, rules.cookie):
        return Verdict.UNKNOWN
    unproven = not visit.origin and visit.method not in _SAFE_METHODS
    return Verdict.FOREIGN_ORIGIN if unproven or _foreign(visit) else Verdict.PASS


def _same(given: str, right: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), right.encode())


def _foreign(visit: Visit) -> bool:
    """A browser says that the request comes from a page that is not ours."""
    if not visit.origin:
        return False
    try:
        origin = urlsplit(visit.origin)
    except ValueError:
        return True
    default = {"http": ":80", "https": ":443"}.get(origin.scheme, "")
    return visit.host.lower() not in (origin.netloc, origin.netloc.removesuffix(default)) or (
        not origin.netloc
    )


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        verdict = judge(self.rules, _visit(connection))
        if verdict is Verdict.PASS:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(verdict, connection)(scope, receive, send)

    def _answer(self, verdict: Verdict, connection: HTTPConnection) -> Response:
        match verdict:
            case Verdict.SET_COOKIE:
                return self._with_cookie(connection)
            case Verdict.WRONG_HOST:
                return problem_response(
                    403,
                    "without a token the api answers only to the names localhost, 127.0.0.1 and "
                    "[::1]: use one of them, or set CAPTIONFLEET_TOKEN",
                )
            case Verdict.FOREIGN_ORIGIN:
                return problem_response(
                    403, "the request comes from another site's page: send it from the console, "
                    "or with the header Authorization: Bearer"
                )  # fmt: skip
            case _:
                return _unknown(connection)

    def _with_cookie(self, connection: HTTPConnection) -> Response:
        rest = [(k, v) for k, v in parse_qsl(connection.url.query, True) if k != "token"]
        path = "/" + connection.url.path.lstrip("/")  # never `//host`, which leads elsewhere
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        response.set_cookie(
            COOKIE,
            self.rules.cookie,
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=connection.url.scheme == "https",
        )
        return response


def _visit(connection: HTTPConnection) -> Visit:
    headers = connection.headers
    return Visit(
        path=connection.scope["path"],
        method=connection.scope.get("method", "WEBSOCKET"),
        host=headers.get("host", ""),
        origin=headers.get("origin", ""),
        bearer=_bearer(headers),
        cookie=connection.cookies.get(COOKIE, ""),
        query_token=connection.query_params.get("token", ""),
    )


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unknown(connection: HTTPConnection) -> Response:
    told = (
        "a token is needed here: send Authorization: Bearer TOKEN, or open the address that "
        "`captionfleet up` printed"
    )
    if "text/html" in connection.headers.get("accept", ""):
        return HTMLResponse(_DOOR_PAGE % escape(told), 401)
    return problem_response(401, told, headers={"WWW-Authenticate": "Bearer"})
