"""What the client of the Kubernetes API repeats, what it must not, and how it finds its way in."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from tests.contract.kubernetes_doors import connected, connected_to, write_kubeconfig

from captionfleet.catalog.kubernetes_access import NoAccess, load_access
from captionfleet.catalog.kubernetes_api import KubernetesError, pause_before
from captionfleet.catalog.kubernetes_errors import error_of

DONE = {"kind": "ConfigMap", "metadata": {"name": "m"}}


class Script:
    """Answers with these statuses, one after the other; the last one for ever."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self.statuses = itertools.chain(statuses, itertools.repeat(statuses[-1]))
        self.headers = headers
        self.seen: list[Request] = []

    async def answer(self, request: Request) -> Response:
        self.seen.append(request)
        status = next(self.statuses)
        told = {"kind": "Status", "message": "told", "reason": "Told", "code": status}
        return JSONResponse(DONE if status < 300 else told, status, self.headers)


async def test_trouble_of_the_server_is_waited_out(tmp_path: Path) -> None:
    script = Script(503, 500, 200)
    async with connected_to({"PATCH /m": script.answer}, tmp_path) as api:
        assert await api.apply("/m", DONE, manager="us") == DONE
    assert len(script.seen) == 3


async def test_a_server_with_too_much_to_do_is_asked_again_later(tmp_path: Path) -> None:
    script = Script(429, 200, **{"Retry-After": "1"})
    async with connected_to({"POST /m": script.answer}, tmp_path) as api:
        assert await api.create("/m", DONE) == DONE


def test_the_server_says_how_long_to_wait() -> None:
    assert pause_before(error_of(429, b"", retry_after="7"), 0, repeatable=False) == 7.0
    assert pause_before(error_of(429, b"", retry_after="3600"), 0, repeatable=False) == 10.0


async def test_what_might_be_done_twice_is_not_repeated(tmp_path: Path) -> None:
    script = Script(500, 200)
    async with connected_to({"POST /m": script.answer, "PUT /m": script.answer}, tmp_path) as api:
        with pytest.raises(KubernetesError, match="told"):
            await api.create("/m", DONE)
    assert len(script.seen) == 1


async def test_a_refusal_is_not_repeated(tmp_path: Path) -> None:
    script = Script(403)
    async with connected_to({"DELETE /m": script.answer}, tmp_path) as api:
        with pytest.raises(KubernetesError) as refused:
            await api.delete("/m")
    assert (refused.value.status, refused.value.reason, str(refused.value)) == (403, "Told", "told")
    assert len(script.seen) == 1


async def test_repeats_end(tmp_path: Path) -> None:
    script = Script(503)
    async with connected_to({"GET /m": script.answer}, tmp_path) as api:
        with pytest.raises(KubernetesError) as refused:
            await api.get("/m")
    assert refused.value.status == 503
    assert len(script.seen) == 5


async def test_an_exchanged_token_is_read_again(tmp_path: Path) -> None:
    script = Script(401, 200)
    async with connected_to({"GET /m": script.answer}, tmp_path) as api:
        address = api._session._client.configuration.host
        write_kubeconfig(tmp_path / "kubeconfig", address, "second")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
            assert await api.get("/m") == DONE
    tokens = [request.headers["authorization"] for request in script.seen]
    assert tokens == ["Bearer first", "Bearer second"]


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", "t")
    async with connected(nowhere) as api:
        with pytest.raises(KubernetesError, match=r"http://127\.0\.0\.1:1 does not answer") as away:
            await api.create("/m", DONE)
    assert (away.value.status, away.value.sent) == (0, False)


async def test_a_page_of_a_proxy_is_no_answer(tmp_path: Path) -> None:
    async def page(_: Request) -> Response:
        return PlainTextResponse("<html>Sorry</html>", 502)

    async with connected_to({"POST /m": page}, tmp_path) as api:
        with pytest.raises(KubernetesError, match="answered 502 Bad Gateway"):
            await api.create("/m", DONE)


async def test_a_list_begins_again_when_its_moment_is_forgotten(tmp_path: Path) -> None:
    asked: list[str] = []

    async def pages(request: Request) -> Response:
        asked.append(request.query_params.get("continue", ""))
        if len(asked) == 2:
            return JSONResponse({"kind": "Status", "code": 410, "message": "expired"}, 410)
        follows = "more" if len(asked) in (1, 3) else ""
        metadata = {"resourceVersion": str(len(asked)), "continue": follows}
        return JSONResponse({"kind": "List", "metadata": metadata, "items": [{"n": len(asked)}]})

    async with connected_to({"GET /m": pages}, tmp_path) as api:
        document = await api.list("/m")
    assert asked == ["", "more", "", "more"]
    assert document["items"] == [{"n": 3}, {"n": 4}]


class Access:
    """Where load_access writes to, without the official client's defaults."""

    def __init__(self) -> None:
        from kubernetes.aio.client import Configuration

        self.configuration = Configuration()

    async def token(self) -> Any:
        return (await self.configuration.auth_settings())["BearerToken"]["value"]


def account(folder: Path, token: str) -> Path:
    (folder / "ca.crt").write_text("a certificate")
    (folder / "token").write_text(token)
    return folder


async def test_a_pod_uses_its_own_account(tmp_path: Path) -> None:
    access = Access()
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    await load_access(access.configuration, pod, account(tmp_path, "one"))
    assert access.configuration.host == "https://10.0.0.1:443"
    assert await access.token() == "bearer one"
    await load_access(access.configuration, pod, account(tmp_path, "two"))
    assert await access.token() == "bearer two"


async def test_a_kubeconfig_that_somebody_named_wins_over_the_account(tmp_path: Path) -> None:
    access = Access()
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://elsewhere", "t")
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": str(kubeconfig)}
    await load_access(access.configuration, pod, account(tmp_path, "one"))
    assert access.configuration.host == "http://elsewhere"


async def test_without_any_way_in_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="set KUBECONFIG"):
        await load_access(Access().configuration, {"HOME": str(tmp_path)}, tmp_path)


def test_no_program_without_kubernetes_loads_its_client() -> None:
    code = (
        "import sys, captionfleet.catalog.kubernetes_api\n"
        "sys.exit('kubernetes' in sys.modules or 'aiohttp' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
