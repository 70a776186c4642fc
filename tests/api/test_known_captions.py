"""The caption cache: what was answered before is not computed again, and never guessed."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from tests.api.flow_parts import Store, copy_of, heartbeat, open_store, sha256_of

from captionfleet.messages import Outcome, ResultMessage
from captionfleet.resources import ModelSpec
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.known_captions import (
    Answered,
    fill,
    key_of,
    question_of,
    remember,
    trusted_revisions,
)
from captionfleet_api.store.tables import KnownCaption, Task

HUB = ModelSpec.model_validate({"source": {"huggingFace": {"repo": "somebody/m"}}})
FOLDER = ModelSpec.model_validate({"source": {"volume": {"path": "/models/m"}}})
CODE = ModelSpec.model_validate(
    {"source": {"huggingFace": {"repo": "somebody/m"}}, "custom": {"entrypoint": "m:M"}}
)
words = st.text(max_size=8)
questions = st.tuples(words, words, words, words, st.dictionaries(words, st.integers()))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


def answer(picture: bytes, text: str, prompt: str = "", revision: str = "r1") -> Answered:
    result = ResultMessage(
        task="t", token="k", model="m", sha256=sha256_of(picture), outcome=Outcome.CAPTIONED,
        worker="w", text=text, finish="stop", seconds=0.5, tokens=3, revision=revision,
        fingerprint=HUB.fingerprint(),
    )  # fmt: skip
    return Answered(result, prompt, {})


async def learn(store: Store, *answers: Answered) -> None:
    async with store.database.write() as session:
        await remember(session, answers)


async def fill_all(store: Store, revisions: Mapping[str, str]) -> int:
    async with store.database.write() as session:
        return await fill(session, (await session.scalars(select(Task))).all(), revisions)


@given(questions, questions)
def test_two_keys_are_equal_only_for_the_same_question(a: Any, b: Any) -> None:
    assert (key_of(a[0], question_of(*a[1:])) == key_of(b[0], question_of(*b[1:]))) == (a == b)


def test_the_order_of_options_does_not_matter() -> None:
    assert question_of("m", "r", "", {"a": 1, "b": 2}) == question_of(
        "m", "r", "", {"b": 2, "a": 1}
    )


async def test_a_known_answer_is_filled_in_and_marked(store: Store) -> None:
    await learn(store, answer(b"cat", "a cat"))
    await store.submit([b"cat", b"dog"])
    assert await fill_all(store, {"m": "r1"}) == 1
    cat, dog = await store.tasks()
    assert (cat.state, cat.caption, cat.cached, cat.revision) == ("captioned", "a cat", True, "r1")
    assert (cat.seconds, cat.tokens, cat.finish) == (0.5, 3, "stop")
    assert (dog.state, dog.cached) == ("pending", False)


@pytest.mark.parametrize("revisions", [{}, {"m": "r2"}, {"other": "r1"}])
async def test_nothing_is_filled_in_under_another_revision(
    store: Store, revisions: dict[str, str]
) -> None:
    await learn(store, answer(b"cat", "a cat"))
    await store.submit([b"cat"])
    assert await fill_all(store, revisions) == 0


async def test_another_prompt_or_option_is_another_question(store: Store) -> None:
    await learn(store, answer(b"cat", "a cat"))
    await store.submit([b"cat"], prompts=["what color?"])
    await store.submit([b"cat"], options={"max_new_tokens": 5})
    assert await fill_all(store, {"m": "r1"}) == 0


async def test_the_first_answer_is_kept(store: Store) -> None:
    await learn(store, answer(b"cat", "a cat"), answer(b"cat", "a dog"))
    await learn(store, answer(b"cat", "a cow"))
    assert len(await store.rows(KnownCaption)) == 1


async def test_a_loaded_copy_of_this_spec_tells_the_revision(store: Store) -> None:
    view = FleetView()
    view.hear(heartbeat(copy_of("m", fingerprint=FOLDER.fingerprint(), revision="r9")))
    async with store.database.read() as session:
        assert await trusted_revisions(session, {"m": FOLDER}, view) == {"m": "r9"}
        assert await trusted_revisions(session, {"m": HUB}, view) == {}


async def test_without_a_copy_only_weights_of_a_hub_are_taken_to_be_the_same(
    store: Store,
) -> None:
    await learn(store, answer(b"cat", "a cat", revision="r7"))
    async with store.database.read() as session:
        specs = {"m": HUB, "folder": FOLDER, "code": CODE}
        assert await trusted_revisions(session, specs, FleetView()) == {"m": "r7"}


async def test_the_latest_revision_of_a_fingerprint_is_the_known_one(store: Store) -> None:
    await learn(store, answer(b"cat", "a cat", revision="r1"))
    await learn(store, answer(b"dog", "a dog", revision="r2"))
    async with store.database.read() as session:
        assert await trusted_revisions(session, {"m": HUB}, FleetView()) == {"m": "r2"}
