"""Answers of Florence-2 and Kosmos-2 that name places: a caption keeps the words."""

import pytest
from tests.worker.tiny_captioners import captioner_of

from captionfleet_worker.engine.places import answer_of_task, without_places

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIZE = (640, 480)
BOX = "<loc_10><loc_20><loc_500><loc_600>"


@pytest.mark.parametrize(
    ("prompt", "written", "caption"),
    [
        ("<CAPTION>", "<s>A cat on a sofa.</s>", "A cat on a sofa."),
        ("<MORE_DETAILED_CAPTION>", "<s>A cat.</s><pad><pad>", "A cat."),
        ("<OCR>", "<s>EXIT</s>", "EXIT"),
        ("<OD>", f"<s>cat{BOX}sofa{BOX}cat{BOX}</s>", "cat, sofa"),
        ("<DENSE_REGION_CAPTION>", f"a grey cat{BOX}a sofa{BOX}", "a grey cat, a sofa"),
        ("<REGION_PROPOSAL>", f"{BOX}{BOX}", ""),
        ("what is this?", f"a cat{BOX}", "a cat"),
    ],
)
def test_the_answer_to_a_task_is_one_plain_text(prompt: str, written: str, caption: str) -> None:
    processor = captioner_of("florence2")._is.processor
    assert answer_of_task(processor, written, prompt, SIZE) == caption


def test_a_checkpoint_without_rules_for_a_task_keeps_the_words() -> None:
    processor = captioner_of("florence2")._is.processor
    assert answer_of_task(processor, f"<s>EXIT{BOX}</s>", "<OCR_WITH_REGION>", SIZE) == "EXIT"


def test_a_task_with_an_input_opens_the_prompt() -> None:
    captioner = captioner_of("florence2")
    assert captioner.prompt_problem("<CAPTION_TO_PHRASE_GROUNDING> a cat") is None
    processor = captioner._is.processor
    told = answer_of_task(processor, f"a cat{BOX}", "<CAPTION_TO_PHRASE_GROUNDING> a cat", SIZE)
    assert told == "a cat"


def test_phrases_of_kosmos_lose_their_marks() -> None:
    written = (
        "<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0063></object> warming "
        "himself by<phrase> a fire</phrase><object><patch_index_0005><patch_index_0011></object>."
    )
    processor = captioner_of("kosmos-2")._is.processor
    assert without_places(processor, written) == "a snowman warming himself by a fire."


def test_only_kosmos_may_be_told_to_ground_what_it_says() -> None:
    kosmos = captioner_of("kosmos-2")
    assert kosmos.prompt_problem("<grounding>An image of") is None
    assert kosmos.prompt_problem("An image of <grounding>") is not None
    assert kosmos.prompt_problem("<grounding>An <image> of") is not None
