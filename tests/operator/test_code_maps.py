"""Code that stands in a ConfigMap reaches workers in their assignment, or is missed with words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.operator.fleets import decide, model, pool, worker, world

from captionfleet.catalog.kubernetes_errors import KubernetesError
from captionfleet.messages import Wanted
from captionfleet.resources import ModelManifest, ModelSpec
from captionfleet.resources.model import CustomFile
from captionfleet_operator.code_maps import CodeMaps
from captionfleet_operator.model_assignments import model_assignment
from captionfleet_operator.planner import ModelSeen

MAP = {"immutable": True, "data": {"mine.py": "class Mine: ...", "helper.py": ""}}
REFERRING: dict[str, Any] = {
    "source": None,
    "custom": {"entrypoint": "mine:Mine", "configMapRef": {"name": "mine-code"}},
}


class Maps:
    """ConfigMaps by name, and how often each was asked for."""

    def __init__(self, **maps: Mapping[str, Any] | Exception) -> None:
        self.maps = {name.replace("_", "-"): each for name, each in maps.items()}
        self.asked: list[str] = []

    async def fetch(self, name: str) -> Mapping[str, Any] | None:
        self.asked.append(name)
        found = self.maps.get(name)
        if isinstance(found, Exception):
            raise found
        return found


def referring(name: str = "a") -> ModelSeen:
    return model(name, **REFERRING)


def catalog(*models: ModelSeen) -> dict[str, ModelManifest]:
    return {each.name: each.manifest for each in models}


async def test_files_are_read_once_and_forgotten_with_the_last_that_names_them() -> None:
    maps, one, two = Maps(mine_code=MAP), referring("a"), referring("b")
    code = CodeMaps(maps.fetch)
    for models in (catalog(one, two, model("c")), catalog(one), catalog(one)):
        await code.look(models)
        files = code.files(one.manifest)
        assert {each.path: each.content for each in files} == MAP["data"]
    assert maps.asked == ["mine-code"]
    await code.look({})
    assert code.files(one.manifest) == ()


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (None, "there is no ConfigMap mine-code, which holds its code: upload the code again"),
        ({"data": MAP["data"]}, "set immutable: true"),
        ({"immutable": True}, "holds no file"),
        ({"immutable": True, "data": {"a.py": "x" * 100_001}}, "larger than 100,000"),
        (KubernetesError(403, "Forbidden", "not allowed"), "cannot be read: not allowed"),
    ],
)
async def test_what_cannot_be_used_is_a_condition_with_a_sentence(
    found: Any, sentence: str
) -> None:
    code, one = CodeMaps(Maps(mine_code=found).fetch), referring()
    await code.look(catalog(one))
    seen = replace(one, code_trouble=code.trouble(one.manifest))

    decided = decide(world(models=[seen], pools=[pool()], workers=[worker()], demand={"a": 1}))

    accepted = next(c for c in decided.model_statuses["a"].conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "CodeNotFound")
    assert sentence in accepted.message and sentence in decided.waiting["a"]
    assert decided.assignments["cpu-1"] == {}


async def test_a_missing_map_is_looked_for_until_it_is_there() -> None:
    maps, one = Maps(), referring()
    code = CodeMaps(maps.fetch)
    await code.look(catalog(one))
    maps.maps["mine-code"] = MAP
    await code.look(catalog(one))
    assert code.trouble(one.manifest) == "" and code.files(one.manifest)


async def test_a_map_that_was_deleted_is_missed_when_it_is_doubted() -> None:
    maps, one = Maps(mine_code=MAP), referring()
    code = CodeMaps(maps.fetch)
    await code.look(catalog(one))
    del maps.maps["mine-code"]
    await code.look(catalog(one))
    assert code.trouble(one.manifest) == "" and code.files(one.manifest)
    code.doubt()
    await code.look(catalog(one))
    assert "there is no ConfigMap" in code.trouble(one.manifest)
    assert code.files(one.manifest) == ()


async def test_a_server_that_is_away_takes_no_code_that_was_read() -> None:
    maps, one = Maps(mine_code=MAP), referring()
    code = CodeMaps(maps.fetch)
    await code.look(catalog(one))
    maps.maps["mine-code"] = KubernetesError(503, "Away", "not now")
    code.doubt()
    await code.look(catalog(one))
    assert maps.asked == ["mine-code", "mine-code"]
    assert code.trouble(one.manifest) == "" and code.files(one.manifest)


async def test_a_folder_says_what_to_write_instead() -> None:
    code, one = CodeMaps(), referring()
    await code.look(catalog(one))
    assert "write the code into custom.files" in code.trouble(one.manifest)


def test_a_worker_needs_no_class_of_its_own_for_code_that_is_brought() -> None:
    seen = replace(referring(), code=(CustomFile(path="mine.py", content="class Mine: ..."),))

    decided = decide(world(models=[seen], pools=[pool()], workers=[worker()], demand={"a": 1}))

    assert decided.assignments["cpu-1"] == {"a": Wanted.LOADED}


def test_workers_get_the_files_and_never_hear_of_config_maps() -> None:
    seen = replace(referring(), code=(CustomFile(path="mine.py", content="class Mine: ..."),))

    spec = ModelSpec.model_validate(model_assignment(seen, Wanted.LOADED).spec)

    assert spec.custom and spec.custom.config_map_ref is None
    assert [each.path for each in spec.custom.files] == ["mine.py"]
    assert model_assignment(seen, Wanted.LOADED).fingerprint == seen.spec.fingerprint()
