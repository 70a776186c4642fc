"""Code by REST: checked by reading, kept in versions with their differences, shut on request."""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.api.doors import Doors, open_doors
from tests.api.test_manifests import model, problem

from captionfleet.catalog import Refused, Unavailable

CODE = """from captionfleet import CustomModel


class Liner(CustomModel):
    def __init__(self, mood="calm"):
        self.mood = mood

    def load(self):
        pass

    def infer(self, image):
        return f"one {self.mood} line"
"""
CUSTOM = "/api/v1/models/custom"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        yield doors


async def send(doors: Doors, code: str = CODE, name: str = "liner", **more: Any) -> httpx.Response:
    body = {"name": name, "files": [{"path": "liner.py", "content": code}], **more}
    return await doors.client.post(CUSTOM, json=body)


def seconds(told: str) -> float:
    assert told.endswith("Z") or told.endswith("+00:00")
    return datetime.fromisoformat(told).timestamp()


async def test_uploaded_code_becomes_a_model_with_its_first_version(
    doors: Doors, tmp_path: Path
) -> None:
    sent = time.time()
    answer = await send(doors, kwargs={"mood": "gay"})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{CUSTOM}/liner/versions/1"
    told = answer.json()
    assert (told["number"], told["author"], told["note"]) == (1, "local", "uploaded")
    assert (told["current"], told["entrypoint"]) == (True, "liner:Liner")
    made, applied = (seconds(told[name]) for name in ("created_at", "applied_at"))
    assert sent - 0.001 <= made <= applied <= time.time()
    written = yaml.safe_load((tmp_path / "catalog/managed/CaptionModel-liner.yaml").read_text())
    custom = written["spec"]["custom"]
    assert custom["files"] == [{"path": "liner.py", "content": CODE}]
    assert custom["kwargs"] == {"mood": "gay"}
    assert "liner" not in sys.modules


async def test_a_form_is_taken_as_well(doors: Doors) -> None:
    files = [("files", ("liner.py", CODE.encode())), ("file", ("helper.py", b"x = 1\n"))]
    data = {"kwargs": '{"mood": "wild"}', "source": '{"volume": {"path": "/weights"}}'}
    answer = await doors.client.post(CUSTOM, files=files, data=data)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["model"], told["kwargs"]) == ("liner", {"mood": "wild"})
    assert told["source"] == {"volume": {"path": "/weights"}}
    sizes = {each["path"]: each["sha256"] for each in told["files"]}
    assert sizes["liner.py"] == hashlib.sha256(CODE.encode()).hexdigest()
    lines = "".join(f"{sizes[path]}  {path}\n" for path in sorted(sizes))
    assert told["sha256"] == hashlib.sha256(lines.encode()).hexdigest()


async def test_a_dry_run_checks_and_keeps_nothing(doors: Doors) -> None:
    answer = await doors.client.post(
        f"{CUSTOM}?dryRun=All", json={"files": [{"path": "liner.py", "content": CODE}]}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "name": "liner", "entrypoint": "liner:Liner", "kwargs": {},
        "arguments": [{"name": "mood", "default": "calm"}],
    }  # fmt: skip
    assert "liner" not in doors.parts.catalog.models()
    problem(await doors.client.get(f"{CUSTOM}/liner/versions"), 404)


async def test_refused_code_is_told_by_file_line_and_field(doors: Doors) -> None:
    told = problem(await send(doors, CODE.replace("load(self)", "load(self")), 422)
    [place] = told["code_problems"]
    assert (place["file"], place["line"], place["field"]) == ("liner.py", 8, "files")
    assert "correct it" in place["message"]
    told = problem(await send(doors, kwargs={"moood": "gay"}), 422)
    assert told["field"] == "kwargs.moood"
    assert "it takes mood" in told["detail"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"files": []}, 422, "no file was given"),
        ({}, 422, "files: required, but missing"),
        ({"files": [{"path": "a.py", "content": "x" * 100_001}]}, 413, "100 kB"),
        ({"files": [{"path": "json.py", "content": CODE}]}, 422, "rename the file"),
        ({"files": [{"path": "liner.py", "content": CODE}], "name": "A b"}, 422, "metadata.name"),
        ({"files": [{"path": "liner.py", "content": CODE}], "kwargs": {"mood": "\0"}}, 422, "NUL"),
        ({"files": [{"path": "liner.py", "content": CODE}], "source": {}}, 422, "source is empty"),
        ({"files": 5}, 422, "files"),
        ({"files": [{"path": "a.py", "content": "\ud800"}]}, 422, "files"),
        ({"files": [{"path": "liner.py", "content": CODE}], "name": "a\0"}, 422, "NUL"),
        ([], 422, "body"),
    ],
)  # fmt: skip
async def test_a_wrong_upload_is_refused_with_words(
    doors: Doors, body: Any, status: int, sentence: str
) -> None:
    told = problem(await doors.client.post(CUSTOM, content=json.dumps(body), headers=JSON), status)
    assert sentence in told["detail"]


async def test_a_form_with_something_else_is_refused(doors: Doors) -> None:
    for content, status in ((b"\xff\xfe", 422), (b"#" * 100_001, 413)):
        files = {"files": ("liner.py", content)}
        assert "liner.py" in problem(await doors.client.post(CUSTOM, files=files), status)["detail"]
    files = {"files": ("liner.py", CODE.encode())}
    answer = await doors.client.post(CUSTOM, files=files, data={"kwargs": "mood=gay"})
    assert problem(answer, 422)["field"] == "kwargs"


async def test_each_change_is_a_version_with_its_difference(doors: Doors) -> None:
    await send(doors)
    assert (await send(doors, CODE.replace("line", "word"))).json()["number"] == 2
    changed = await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": {"mood": "gay"}})
    assert (changed.status_code, changed.json()["note"]) == (201, "arguments changed")

    versions = (await doors.get("/models/custom/liner/versions"))["items"]
    assert [(each["number"], each["current"]) for each in versions] == [
        (3, True), (2, False), (1, False),
    ]  # fmt: skip
    second = await doors.get("/models/custom/liner/versions/2")
    assert '-        return f"one {self.mood} line"' in second["diff"]
    assert '+        return f"one {self.mood} word"' in second["diff"]
    assert second["code"]["liner.py"] == CODE.replace("line", "word")
    third = await doors.get("/models/custom/liner/versions/3")
    assert third["diff"].splitlines()[-1] == "+mood: 'gay'"
    assert third["sha256"] == second["sha256"]
    both = await doors.get("/models/custom/liner/versions/3", against=1)
    assert both["diff_from"] == 1 and "word" in both["diff"] and "gay" in both["diff"]
    first = await doors.get("/models/custom/liner/versions/1")
    assert first["diff_from"] is None and "--- /dev/null" in first["diff"]


async def test_a_changed_argument_is_another_spec_and_no_other_code(doors: Doors) -> None:
    await send(doors)
    before = doors.parts.catalog.models()["liner"].spec
    await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": {"mood": "gay"}})
    after = doors.parts.catalog.models()["liner"].spec
    assert before.custom and after.custom and before.custom.files == after.custom.files
    assert before.fingerprint() != after.fingerprint()


async def test_going_back_is_a_new_version_with_the_old_code(doors: Doors) -> None:
    await send(doors, kwargs={"mood": "gay"})
    await send(doors, CODE.replace("line", "word"), kwargs={})
    answer = await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": 1})
    told = answer.json()
    assert (answer.status_code, told["number"], told["note"]) == (201, 3, "back to version 1")
    custom = doors.parts.catalog.models()["liner"].spec.custom
    assert custom and custom.kwargs == {"mood": "gay"} and custom.files[0].content == CODE
    for number, status in ((9, 404), (10**30, 422)):
        answer = await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": number})
        problem(answer, status)


async def test_the_same_again_is_no_version(doors: Doors) -> None:
    await send(doors, kwargs={"mood": "gay"})
    again = await send(doors)  # arguments that are not sent stay
    assert (again.status_code, again.json()["number"]) == (200, 1)
    same = await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": {"mood": "gay"}})
    assert (same.status_code, same.json()["number"]) == (200, 1)


async def test_the_rest_of_the_spec_stays_with_the_model(doors: Doors) -> None:
    await send(doors)
    manifest = await doors.get("/models/liner")
    manifest["spec"]["displayName"] = "One liner"
    await doors.client.put("/api/v1/models/liner", json=manifest)
    await send(doors, CODE.replace("line", "word"))
    assert (await doors.get("/models/liner"))["spec"]["displayName"] == "One liner"


async def test_a_model_that_was_not_uploaded_is_left_alone(doors: Doors) -> None:
    assert "was not uploaded" in problem(await send(doors, name="alpha"), 409)["detail"]
    problem(await doors.client.put(f"{CUSTOM}/alpha/kwargs", json={"kwargs": {}}), 404)
    problem(await doors.client.get(f"{CUSTOM}/alpha/versions"), 404)
    problem(await doors.client.get(f"{CUSTOM}/nobody/versions/1"), 404)


async def test_another_model_of_an_uploaded_name_is_left_alone(doors: Doors) -> None:
    await send(doors)
    await doors.client.delete("/api/v1/models/liner")
    await doors.client.post("/api/v1/models", json=model("liner"))
    problem(await send(doors), 409)
    problem(await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": 1}), 409)
    assert "custom" not in (await doors.get("/models/liner"))["spec"]


async def test_versions_outlive_their_model_and_count_on(doors: Doors) -> None:
    await send(doors)
    await doors.client.delete("/api/v1/models/liner")
    [first] = (await doors.get("/models/custom/liner/versions"))["items"]
    assert first["current"] is False
    problem(await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": {}}), 404)
    assert (await send(doors)).json()["number"] == 2
    await doors.client.delete("/api/v1/models/liner")
    back = await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": 1})
    assert back.json()["number"] == 3
    assert "liner" in doors.parts.catalog.models()


async def test_a_model_that_was_changed_elsewhere_stands_for_no_version(doors: Doors) -> None:
    await send(doors)
    manifest = await doors.get("/models/liner")
    manifest["spec"]["custom"]["kwargs"] = {"mood": "odd"}
    await doors.client.put("/api/v1/models/liner", json=manifest)
    [first] = (await doors.get("/models/custom/liner/versions"))["items"]
    assert first["current"] is False


@pytest.mark.parametrize(("error", "kept"), [(Refused("no"), 0), (Unavailable("later"), 1)])
async def test_what_the_catalog_refuses_leaves_no_version(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: int
) -> None:
    async def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(doors.parts.catalog, "put_code", refuse)
    assert (await send(doors)).status_code in (403, 503)
    found = await doors.parts.history.versions("liner")
    assert [each.applied_at for each in found] == [None] * kept


async def test_code_is_refused_where_the_setting_says_so(tmp_path: Path) -> None:
    async with open_doors(tmp_path, custom_code=False) as doors:
        for answer in (
            await send(doors),
            await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": {}}),
            await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": 1}),
        ):
            assert "CAPTIONFLEET_CUSTOM_CODE=1" in problem(answer, 403)["detail"]
        by_manifest = model(
            custom={"entrypoint": "a:A", "files": [{"path": "a.py", "content": "class A: ..."}]}
        )
        told = problem(await doors.client.post("/api/v1/models", json=by_manifest), 403)
        assert told["field"] == "spec.custom"
        by_name = model(custom={"entrypoint": "a:A"})
        assert (await doors.client.post("/api/v1/models", json=by_name)).status_code == 201
        assert (await doors.get("/fleet"))["custom_code"]["taken"] is False


async def test_without_a_token_code_is_taken_on_loopback_alone(tmp_path: Path) -> None:
    async with open_doors(tmp_path, host="0.0.0.0", no_auth=True) as doors:
        assert "set CAPTIONFLEET_TOKEN" in problem(await send(doors), 403)["detail"]


async def test_the_token_guards_the_upload_and_names_the_author(tmp_path: Path) -> None:
    async with open_doors(tmp_path, host="0.0.0.0", token="long enough") as doors:
        problem(await send(doors), 401)
        doors.client.headers["authorization"] = "Bearer long enough"
        assert (await send(doors)).json()["author"] == "admin"


async def test_two_apis_of_one_database_number_versions_once(
    tmp_path: Path, postgres_url: str
) -> None:
    database = {"database_url": postgres_url}
    async with open_doors(tmp_path, **database) as one, open_doors(tmp_path, **database) as other:
        codes = [CODE.replace("line", f"line {n}") for n in range(6)]
        sent = zip([one, other] * 3, codes, strict=True)
        answers = await asyncio.gather(*(send(doors, code) for doors, code in sent))
        assert sorted(each.json()["number"] for each in answers) == [1, 2, 3, 4, 5, 6]
        newest = await other.get("/models/custom/liner/versions/6")
        assert newest["diff_from"] == 5 and newest["diff"]


async def test_the_upload_is_described(doors: Doors) -> None:
    described = (await doors.client.get("/api/v1/openapi.json")).json()["paths"]
    content = described["/models/custom"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert json.dumps(content["multipart/form-data"]).count("Python code") == 1
