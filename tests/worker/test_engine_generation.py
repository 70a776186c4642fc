"""What spec.generation and a job's options do: each reaches the model, or is refused in words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.conftest import SHAPES
from tests.worker.engines import engine_of, order_for, plain
from tests.worker.tiny_captioners import captioner_of, captions, every_size, habitual

from captionfleet.resources.model import Generation
from captionfleet_worker.engine.answering import Answering
from captionfleet_worker.engine.generation import OPTION_NAMES, generate_arguments, told
from captionfleet_worker.engine.protocol import LoadFailed, Shot

# transformers' own habits with numpy; nothing of ours.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PICTURE = Image.linear_gradient("L").convert("RGB")
EVERY_OPTION = {
    "max_new_tokens": 7, "min_new_tokens": 3, "num_beams": 2, "do_sample": True,
    "temperature": 0.5, "top_p": 0.9, "top_k": 8, "repetition_penalty": 1.5,
    "no_repeat_ngram_size": 2, "length_penalty": 0.5, "seed": 4,
}  # fmt: skip


def test_every_option_of_a_job_reaches_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    captioner, seen = captioner_of("llava"), dict[str, Any]()
    generate = captioner._is.model.generate

    def watched(**given: Any) -> Any:
        seen.update(given, seed=torch.initial_seed())
        return generate(**given)

    monkeypatch.setattr(captioner._is.model, "generate", watched)
    [answer] = Answering(captioner, Generation(), 8).answer([Shot(plain(), "")], EVERY_OPTION)
    assert answer.text and set(EVERY_OPTION) == OPTION_NAMES
    assert {name: seen.get(name) for name in OPTION_NAMES} == EVERY_OPTION


def test_how_a_model_is_asked_is_told() -> None:
    assert told(habitual(captioner_of("florence2"))) == (
        'asked "<MORE_DETAILED_CAPTION>", writes up to 256 tokens, 3 beams'
    )


def test_sampling_is_repeated_by_its_seed() -> None:
    captioner = captioner_of("llava")
    first, again, other = (
        captions(captioner, [PICTURE], how=habitual(
            captioner, do_sample=True, temperature=5.0, seed=seed, max_new_tokens=12))
        for seed in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other


def test_further_arguments_reach_generate() -> None:
    captioner = captioner_of("llava")
    bare = captions(captioner, every_size())
    extra = {"bad_words_ids": "[[10]]"}
    how = habitual(captioner, max_new_tokens=6, min_new_tokens=6, extra=extra)
    assert generate_arguments(how)["bad_words_ids"] == [[10]]
    banned = captioner._is.tokenizer.decode([10])
    assert any(banned in caption.text for caption in bare)
    without = captions(captioner, every_size(), how=how)
    assert not any(banned in caption.text for caption in without)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"max_length": "3"}, r"extra\.max_length: the worker sets"),
        ({"stop_strings": '["circle"]'}, r"extra\.stop_strings: the worker sets"),
        ({"eos_token_id": "3"}, r"extra\.eos_token_id: the worker sets"),
        ({"renormalise_logits": "true"}, r"extra\.renormalise_logits: generate\(\) knows no"),
    ],
)
async def test_an_argument_that_is_none_or_not_a_persons_is_refused(
    extra: dict[str, str], words: str, tmp_path: Path
) -> None:
    spec = {"source": {"volume": {"path": str(SHAPES / "models" / "shapes-basic")}},
            "generation": {"extra": extra}}  # fmt: skip
    with pytest.raises(LoadFailed, match=words) as failed:
        async with engine_of(order_for(spec, tmp_path)):
            pass
    assert (failed.value.reason, failed.value.retriable) == ("InvalidSpec", False)


async def test_a_system_prompt_without_a_chat_is_refused(tmp_path: Path) -> None:
    spec = {"source": {"volume": {"path": str(SHAPES / "models" / "shapes-blip")}},
            "generation": {"systemPrompt": "Be brief."}}  # fmt: skip
    with pytest.raises(LoadFailed, match=r"spec\.generation\.systemPrompt is for models"):
        async with engine_of(order_for(spec, tmp_path)):
            pass


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"generation": {"prompt": "a <end_of_utterance>"}}, "generation.prompt"),
        ({"generation": {"systemPrompt": "Obey.<end_of_utterance>"}}, "generation.systemPrompt"),
        ({"prompts": [{"name": "a", "text": "Why?"}, {"name": "b", "text": "<image>"}]},
         "prompts[1].text"),
    ],
)  # fmt: skip
async def test_a_mark_that_steers_the_model_is_refused_in_its_manifest_too(
    stated: dict[str, Any], field: str, tmp_path: Path
) -> None:
    spec = {"source": {"volume": {"path": str(SHAPES / "models" / "shapes-chat")}}, **stated}
    with pytest.raises(LoadFailed, match="which steers this model: remove it") as failed:
        async with engine_of(order_for(spec, tmp_path)):
            pass
    assert failed.value.message.startswith(f"spec.{field}: ")
    # A preset changes no fingerprint: nobody would try again after it was mended.
    assert (failed.value.reason, failed.value.retriable) == ("InvalidSpec", "prompts" in stated)
