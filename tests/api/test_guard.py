"""Who may come in: the decision on plain facts, then the doors themselves."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.api.doors import Doors, open_doors, picture

from captionfleet_api.routes.guard import COOKIE, Guard, Rules, Verdict, Visit, judge
from captionfleet_api.settings import ApiSettings

OPEN = Rules(token=None, local_names_only=True)
GUARDED = Rules(token="a long secret", local_names_only=False)
HOST = "127.0.0.1:8000"
PATHS = ["/api/v1/jobs", "/", "/_nicegui/client/1/upload/2", "/_nicegui_ws/socket.io", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_without_the_token_nothing_opens(path: str, method: str) -> None:
    assert judge(GUARDED, Visit(path, method, HOST)) is Verdict.UNKNOWN
    assert judge(GUARDED, Visit(path, method, HOST, bearer="a long secreT")) is Verdict.UNKNOWN
    assert judge(GUARDED, Visit(path, method, HOST, cookie="a long secret")) is Verdict.UNKNOWN
    assert judge(GUARDED, Visit(path, method, HOST, query_token="wrong")) is Verdict.UNKNOWN


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_the_bearer_token_opens_everything_from_everywhere(path: str, method: str) -> None:
    visit = Visit(path, method, HOST, origin="https://else.where", bearer="a long secret")
    assert judge(GUARDED, visit) is Verdict.PASS


@pytest.mark.parametrize(
    ("method", "origin", "verdict"),
    [
        ("GET", "", Verdict.PASS),
        ("POST", "", Verdict.FOREIGN_ORIGIN),
        ("WEBSOCKET", "", Verdict.FOREIGN_ORIGIN),
        ("POST", f"http://{HOST}", Verdict.PASS),
        ("WEBSOCKET", f"http://{HOST}", Verdict.PASS),
        ("POST", "http://127.0.0.1:9000", Verdict.FOREIGN_ORIGIN),
        ("DELETE", "https://else.where", Verdict.FOREIGN_ORIGIN),
        ("GET", "https://else.where", Verdict.FOREIGN_ORIGIN),
        ("WEBSOCKET", "null", Verdict.FOREIGN_ORIGIN),
    ],
)
def test_the_cookie_serves_our_own_pages_alone(method: str, origin: str, verdict: Verdict) -> None:
    visit = Visit("/api/v1/jobs", method, HOST, origin=origin, cookie=GUARDED.cookie)
    assert judge(GUARDED, visit) is verdict


def test_the_cookie_does_not_tell_the_token() -> None:
    assert "secret" not in GUARDED.cookie
    assert Rules("another secret", local_names_only=False).cookie != GUARDED.cookie


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("localhost:8000", Verdict.PASS),
        ("127.0.0.1", Verdict.PASS),
        ("[::1]:8000", Verdict.PASS),
        ("evil.example:8000", Verdict.WRONG_HOST),
        ("localhost.evil.example", Verdict.WRONG_HOST),
        ("", Verdict.WRONG_HOST),
        ("[", Verdict.WRONG_HOST),
    ],
)
def test_without_a_token_only_names_of_this_machine_are_answered(
    host: str, verdict: Verdict
) -> None:
    assert judge(OPEN, Visit("/api/v1/jobs", "GET", host)) is verdict


@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_without_a_token_other_sites_pages_stay_outside(method: str) -> None:
    visit = Visit("/_nicegui_ws/socket.io", method, HOST, origin="https://else.where")
    assert judge(OPEN, visit) is Verdict.FOREIGN_ORIGIN


def test_an_origin_that_is_no_address_is_a_foreign_one() -> None:
    visit = Visit("/api/v1/jobs", "POST", HOST, origin="http://[")
    assert judge(OPEN, visit) is Verdict.FOREIGN_ORIGIN


def test_a_proxy_may_hide_the_port_of_https() -> None:
    visit = Visit("/", "POST", "captions.example", origin="https://captions.example:443")
    assert judge(Rules(None, local_names_only=False), visit) is Verdict.PASS


def test_beyond_loopback_the_api_starts_only_with_a_token_or_on_demand() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ValidationError, match="CAPTIONFLEET_TOKEN"):
            ApiSettings(host=host)
        assert ApiSettings(host=host, no_auth=True).host == host
        assert ApiSettings(host=host, token="a long secret").host == host
    assert ApiSettings(host="::1").on_loopback
    with pytest.raises(ValidationError, match="at least 8"):
        ApiSettings(token="short")


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, token="a long secret") as doors:
        yield doors


async def test_the_printed_address_becomes_a_cookie_that_opens_the_doors(doors: Doors) -> None:
    opened = await doors.client.get("/jobs/7", params={"token": "a long secret", "tab": "x y"})

    assert opened.status_code == 303
    assert opened.headers["location"] == "/jobs/7?tab=x+y"
    told = opened.headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=lax" in told
    assert (await doors.client.get("/api/v1/jobs")).status_code == 200
    sent = await doors.client.post("/api/v1/images", content=picture())
    assert sent.status_code == 403
    ours = {"origin": "http://127.0.0.1:8000"}
    sent = await doors.client.post("/api/v1/images", content=picture(), headers=ours)
    assert sent.status_code == 201


async def test_a_redirect_never_leads_elsewhere(doors: Doors) -> None:
    opened = await doors.client.get("http://127.0.0.1:8000//evil.example/?token=a+long+secret")
    assert opened.headers["location"].startswith("/evil.example")


async def test_strangers_get_a_problem_and_browsers_a_page(doors: Doors) -> None:
    problem = await doors.client.get("/api/v1/jobs")
    assert (problem.status_code, problem.headers["www-authenticate"]) == (401, "Bearer")
    assert problem.headers["content-type"] == "application/problem+json"
    page = await doors.client.get("/", headers={"accept": "text/html"})
    assert (page.status_code, "<form" in page.text) == (401, True)
    assert (await doors.client.get("/healthz")).status_code == 200
    assert (await doors.client.get("/readyz")).status_code == 200
    assert (await doors.client.get("/metrics")).status_code == 401


async def test_every_answer_carries_the_security_headers(doors: Doors) -> None:
    for path in ("/healthz", "/api/v1/jobs", "/nowhere"):
        headers = (await doors.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-request-id"]


def test_a_web_socket_is_closed_before_it_opens() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("a stranger came in")

    client = TestClient(Guard(app, GUARDED))
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/_nicegui_ws/"):
        pass
    assert closed.value.code == 1008
    assert COOKIE not in httpx.Cookies()
