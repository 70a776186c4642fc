"""In a batch no picture, prompt or cancellation changes the caption of another.

For each family, by tiny models of random weights in the test's own process.
"""

import json
from pathlib import Path

import pytest
from tests.worker.engines import plain
from tests.worker.tiny_captioners import (
    PICTURES,
    SIX,
    TWO_BEAMS,
    captioner_of,
    captions,
    every_size,
    loaded,
    one_by_one,
)
from tests.worker.tiny_models import ASKED, BUILDERS, build

from captionfleet_worker.engine.answering import Answering
from captionfleet_worker.engine.generation import Settled
from captionfleet_worker.engine.protocol import Shot

# transformers' own habits with numpy; nothing of ours.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("family", BUILDERS)
def test_a_batch_of_all_sizes_changes_no_caption(family: str) -> None:
    captioner = captioner_of(family)
    together = captions(captioner, every_size())
    assert together == one_by_one(captioner, every_size())
    assert all(caption.text and caption.tokens == 6 for caption in together)
    assert len({caption.text for caption in together}) > 1  # else it might see no picture at all


@pytest.mark.parametrize("family", BUILDERS)
def test_beams_change_no_caption_of_a_batch(family: str) -> None:
    captioner = captioner_of(family)
    together = captions(captioner, PICTURES, how=TWO_BEAMS)
    assert together == one_by_one(captioner, PICTURES, how=TWO_BEAMS)


@pytest.mark.parametrize("how", [SIX, TWO_BEAMS])
@pytest.mark.parametrize("family", BUILDERS)
def test_what_nobody_waits_for_ends_at_the_next_token(family: str, how: Settled) -> None:
    captioner = captioner_of(family)
    asked: list[int] = []

    def cancelled(picture: int) -> bool:
        asked.append(picture)
        return True

    captioner.generate(captioner.prepare(PICTURES, "", how), cancelled)
    assert asked == list(range(len(PICTURES)))  # once: after one of six tokens


@pytest.mark.parametrize("how", [SIX, TWO_BEAMS])
@pytest.mark.parametrize("family", BUILDERS)
def test_who_is_cancelled_changes_nothing_for_the_others(family: str, how: Settled) -> None:
    captioner = captioner_of(family)
    whole = captions(captioner, PICTURES, how=how)
    prepared = captioner.prepare(PICTURES, "", how)
    assert captioner.generate(prepared, lambda picture: picture == 0)[1:] == whole[1:]


@pytest.mark.parametrize("family", ASKED)
def test_uneven_prompts_change_no_caption(family: str) -> None:
    answering = Answering(captioner_of(family), SIX, 8)
    prompts = ("", "a short sentence", "what does the image describe in the picture")
    shots = [Shot(plain(color), prompt) for color in ("red", "teal") for prompt in prompts]
    together = answering.answer(shots, {})
    assert together == [answering.answer([shot], {})[0] for shot in shots]
    assert all(answer.text for answer in together)
    parts = answering.prepare(shots, {}).parts
    assert [len(part.shots) for part in parts] == [2, 2, 2]  # no batch mixes prompts


def test_tokenizers_that_pad_at_the_end_are_turned_round(tmp_path: Path) -> None:
    folder = build("llava_next", tmp_path)
    saved = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**saved, "padding_side": "right"}))
    captioner = loaded(folder)
    assert captions(captioner, every_size()) == one_by_one(captioner, every_size())
    # Were they not, captions would change without a word.
    captioner._is.tokenizer.padding_side = "right"
    assert captions(captioner, every_size()) != one_by_one(captioner, every_size())
