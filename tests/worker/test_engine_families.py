"""Families of captioners beyond the trained toys, by tiny models of random weights.

They run inside the test's own process: engines would each import torch.
"""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from tests.conftest import SHAPES
from tests.worker.engines import TRUTH, normalized, plain
from tests.worker.tiny_captioners import (
    PICTURES,
    SIX,
    captioner_of,
    captions,
    habitual,
    loaded,
    one_by_one,
)
from tests.worker.tiny_models import ASKED, BUILDERS, build

from captionfleet.resources.model import Loader, PipelineTag
from captionfleet_worker.engine.answering import Answering
from captionfleet_worker.engine.families import (
    RECIPES,
    Family,
    PromptRules,
    Takes,
    recipe_for,
    recipe_of,
)
from captionfleet_worker.engine.generation import Settled
from captionfleet_worker.engine.protocol import LoadFailed, Shot
from captionfleet_worker.engine.transformers_captioner import TransformersCaptioner
from captionfleet_worker.engine.wording import Thoughts

# transformers' own habits with numpy; nothing of ours.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

WITHOUT_CHAT, WITH_TEXT = PipelineTag.IMAGE_TO_TEXT, PipelineTag.IMAGE_TEXT_TO_TEXT


@pytest.mark.parametrize("family", BUILDERS)
def test_an_empty_prompt_means_the_familys_own(family: str) -> None:
    captioner = captioner_of(family)
    own = recipe_of(family).default_prompt
    assert captions(captioner, PICTURES[:1]) == captions(captioner, PICTURES[:1], own)


@pytest.mark.parametrize("family", ASKED)
def test_another_prompt_makes_another_caption(family: str) -> None:
    captioner = captioner_of(family)
    assert captions(captioner, PICTURES, "what does the image") != captions(captioner, PICTURES)


def test_a_type_without_a_recipe_is_asked_by_the_template_of_its_checkpoint() -> None:
    captioner = captioner_of("aya_vision")
    assert "aya_vision" not in RECIPES
    seen = captioner._inputs(PICTURES[:1], "", "")
    asked = captioner._is.tokenizer.decode(seen["input_ids"][0], skip_special_tokens=True)
    assert asked.endswith("image in one sentence .")


@pytest.mark.parametrize("family", BUILDERS)
def test_where_a_manifest_says_nothing_the_family_decides(family: str) -> None:
    captioner, recipe = captioner_of(family), recipe_of(family)
    how = habitual(captioner)
    assert (how.max_new_tokens, how.num_beams) == (recipe.max_new_tokens, recipe.num_beams)
    assert habitual(captioner, max_new_tokens=9, num_beams=2).max_new_tokens == 9
    assert habitual(captioner, num_beams=2).num_beams == 2
    assert habitual(captioner, prompt="why?").prompt == "why?"


@pytest.mark.parametrize("family", ["blip-2", "instructblip", "paligemma", "kosmos-2", "qwen2_vl"])
def test_what_was_asked_is_no_part_of_the_caption(family: str) -> None:
    for caption in captions(captioner_of(family), PICTURES, "describe the short sentence"):
        assert not caption.text.startswith("describe the")
        assert caption.tokens == 6 and len(caption.text.split()) <= 6


def test_git_goes_on_with_a_prefix_instead_of_starting_anew() -> None:
    captioner = captioner_of("git")
    seen: list[list[int]] = []
    model = captioner._is.model
    watch = model.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["input_ids"][0].tolist()), with_kwargs=True
    )
    written = captions(captioner, PICTURES, "a red picture")
    watch.remove()
    assert captioner._is.tokenizer.decode(seen[0]) == "<s> a red picture"
    assert all(caption.text.startswith("a red picture ") for caption in written)


def test_a_task_token_of_florence_stands_alone() -> None:
    captioner = captioner_of("florence2")
    assert captioner.prompt_problem("<CAPTION>") is None
    assert captioner.prompt_problem("what does the image describe") is None
    assert "whole prompt" in (captioner.prompt_problem("<CAPTION> please") or "")
    assert all(caption.text for caption in captions(captioner, PICTURES, "<CAPTION>"))


@pytest.mark.parametrize(
    ("family", "mark"),
    [
        ("qwen2_vl", "<|image_pad|>"), ("qwen2_vl", "<|vision_end|>"), ("llava", "<image>"),
        ("idefics3", "<end_of_utterance>"), ("smolvlm", "<fake_token_around_image>"),
        ("internvl", "<IMG_CONTEXT>"), ("gemma3", "<start_of_image>"), ("blip-2", "</s>"),
        ("lfm2_vl", "<|image_start|>"), ("kosmos-2", "</phrase>"), ("paligemma", "<image>"),
    ],
)  # fmt: skip
def test_a_mark_that_steers_the_model_is_refused(family: str, mark: str) -> None:
    problem = captioner_of(family).prompt_problem(f"two {mark} please")
    assert problem and repr(mark) in problem


def test_whatever_a_file_holds_a_cpu_computes_in_float32(tmp_path: Path) -> None:
    folder = build("llava", tmp_path)
    half: Any = transformers.LlavaForConditionalGeneration
    half.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    assert loaded(folder)._is.model.dtype == torch.float32


@pytest.mark.parametrize("family", ["vision-encoder-decoder", "git", "qwen2_vl"])
def test_nothing_is_left_to_transformers_to_decide(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its defaults: the file's number format, and a question about foreign code on a terminal."""
    folder, seen = build(family, tmp_path), list[tuple[str, dict[str, Any]]]()
    for name in ("AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer",
                 "AutoImageProcessor"):  # fmt: skip
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", watched(name, seen))
    loaded(folder)
    assert all(given["trust_remote_code"] is False for _, given in seen)
    assert all(given["local_files_only"] is True for _, given in seen)
    [model] = [given for name, given in seen if name.startswith("AutoModel")]
    assert model["dtype"] is torch.float32 and model["use_safetensors"] is True


def watched(name: str, seen: list[tuple[str, dict[str, Any]]]) -> Any:
    original = getattr(transformers, name).from_pretrained

    def watch(*args: Any, **given: Any) -> Any:
        seen.append((name, given))
        return original(*args, **given)

    return watch


def test_a_system_prompt_is_told_before_the_question() -> None:
    captioner = captioner_of("llava")
    seen = captioner._inputs(PICTURES[:1], "what does the image describe", "write short")
    text = captioner._is.tokenizer.decode(seen["input_ids"][0], skip_special_tokens=True)
    assert text == "write short what does the image describe"


def thinking_between(opening: str, closing: str) -> TransformersCaptioner:
    """A captioner for which two words are the marks around thoughts."""
    checkpoint = captioner_of("llava")._is
    opens, closes = checkpoint.tokenizer.convert_tokens_to_ids([opening, closing])
    return TransformersCaptioner(
        replace(checkpoint, thoughts=Thoughts(frozenset({opens}), frozenset({closes})))
    )


def test_thoughts_that_the_template_opens_are_no_part_of_the_caption() -> None:
    [bare] = captions(captioner_of("llava"), PICTURES[:1], "what")
    words = bare.text.split()
    [caption] = captions(thinking_between("what", words[2]), PICTURES[:1], "what")
    last = len(words) - words[::-1].index(words[2])
    assert caption.text.split() == words[last:]
    assert (caption.finish, caption.tokens) == (bare.finish, bare.tokens)


def test_who_is_cut_off_in_thought_fails_with_the_remedy() -> None:
    answering = Answering(thinking_between("what", "zebra"), SIX, 8)
    [answer] = answering.answer([Shot(plain(), "what")], {})
    assert answer.error_code == "empty_caption"
    assert "raise max_new_tokens" in (answer.error_message or "")


def test_rules_for_prompts() -> None:
    rules = PromptRules(Family.CHAT, frozenset({"<end>", "<end_of>"}))
    assert rules.problem("") is None and rules.problem("the end") is None
    assert "'<end_of>'" in (rules.problem("a <end_of> b <end>") or "")
    assert PromptRules(Family.IMAGE, frozenset()).problem("x")


@pytest.mark.parametrize(
    ("model_type", "takes", "tag", "family"),
    [
        ("blip", Takes(text=True), WITHOUT_CHAT, Family.PREFIXED),
        ("blip", Takes(text=True), WITH_TEXT, Family.PREFIXED),
        ("blip-2", Takes(text=True), WITHOUT_CHAT, Family.PROMPTED),
        ("florence2", Takes(text=True, placeholder=True), WITH_TEXT, Family.PROMPTED),
        ("vision-encoder-decoder", Takes(text=False), WITHOUT_CHAT, Family.IMAGE),
        ("llava", Takes(text=True, chat=True, placeholder=True), None, Family.CHAT),
        ("llava", Takes(text=True, chat=True, placeholder=True), WITH_TEXT, Family.CHAT),
        ("llava", Takes(text=True, chat=True, placeholder=True), WITHOUT_CHAT, Family.PLAIN),
        ("llava", Takes(text=True, placeholder=True), WITHOUT_CHAT, Family.PLAIN),
        ("unknown", Takes(text=True), WITHOUT_CHAT, Family.PREFIXED),
        ("unknown", Takes(text=False), WITHOUT_CHAT, Family.IMAGE),
    ],
)
def test_a_tag_says_how_a_model_is_asked(
    model_type: str, takes: Takes, tag: PipelineTag | None, family: Family
) -> None:
    assert recipe_for(model_type, takes, tag).family is family


@pytest.mark.parametrize(
    ("model_type", "takes", "told"),
    [
        ("vision-encoder-decoder", Takes(text=False), "takes no text"),
        ("llava", Takes(text=True, placeholder=True), "has no chat template"),
    ],
)
def test_a_tag_that_a_model_cannot_serve_is_refused(
    model_type: str, takes: Takes, told: str
) -> None:
    with pytest.raises(LoadFailed, match=told) as failed:
        recipe_for(model_type, takes, WITH_TEXT)
    assert failed.value.message.startswith("spec.pipelineTag is image-text-to-text")


@pytest.mark.parametrize("family", ["shapes-chat", "qwen2_vl"])
def test_a_chat_model_asked_without_chat_goes_on_with_a_plain_text(
    family: str, tmp_path: Path
) -> None:
    folder = SHAPES / "models" / family
    if not folder.is_dir():
        folder = build(family, tmp_path / family)
    unasked = loaded(folder, tag=WITHOUT_CHAT)
    seen = unasked._inputs(list(PICTURES), "a red", "")
    text = unasked._is.tokenizer.decode(seen["input_ids"][0])
    assert text.endswith("a red") and unasked._is.processor.image_token in text
    assert "user" not in text and "assistant" not in text
    together = captions(unasked, PICTURES, "a red")
    assert together == one_by_one(unasked, PICTURES, "a red")
    assert all(caption.text.startswith("a red") for caption in together)
    assert all(caption.text for caption in captions(unasked, PICTURES, ""))


def test_a_picture_of_qwen_stands_between_its_marks(tmp_path: Path) -> None:
    unasked = loaded(build("qwen2_vl", tmp_path), tag=WITHOUT_CHAT)
    assert unasked._is.picture == "<|vision_start|><|image_pad|><|vision_end|>"


def test_a_chat_template_that_wants_plain_text_gets_it(tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-chat", tmp_path / "chat")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|user|><image>{{ m['content'] | trim }}<end_of_utterance>"
        "{% endfor %}<|assistant|>"
    )
    [caption] = captions(loaded(folder), [picture("shapes-01.png")], "", Settled())
    truth = TRUTH["shapes-01.png"]["captions"]["full"]
    assert caption.text == f"The image shows {truth}."


def picture(name: str) -> Image.Image:
    return Image.open(io.BytesIO(normalized(name)))


@pytest.mark.parametrize("template", [None, "nothing of use"])
def test_a_chat_model_that_cannot_be_asked_is_refused(template: str | None, tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-chat", tmp_path / "chat")
    (folder / "chat_template.jinja").unlink()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(LoadFailed, match=r"chat_template\.jinja") as failed:
        loaded(folder)
    assert failed.value.reason == "UnsupportedModel"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"model_type": "bert"}', "no captioner of type 'bert'"),
        ('{"model_type": "moondream1", "auto_map": {}}', "brings code of its own"),
        ("{}", "no captioner of type None"),
    ],
)
def test_an_unknown_architecture_is_told(config: str, told: str, tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-basic", tmp_path / "model")
    (folder / "config.json").write_text(config)
    with pytest.raises(LoadFailed, match=told) as failed:
        loaded(folder)
    assert (failed.value.reason, failed.value.retriable) == ("UnsupportedModel", False)


def test_trusted_code_that_offers_no_captioner_is_told(tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-basic", tmp_path / "model")
    config = '{"model_type": "moondream1", "auto_map": {"AutoConfig": "a.B"}}'
    (folder / "config.json").write_text(config)
    with pytest.raises(LoadFailed, match="nor does the code that it brings"):
        loaded(folder, Loader(trust_remote_code=True))


def test_weights_of_another_model_are_not_filled_up_with_noise(tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-basic", tmp_path / "model")
    shutil.copy(SHAPES / "models" / "shapes-chat" / "model.safetensors", folder)
    with pytest.raises(LoadFailed, match=r"not those of its config\.json") as failed:
        loaded(folder)
    assert failed.value.reason == "MissingWeights"


def test_a_pickle_loads_where_it_is_allowed_alone(tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-basic", tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LoadFailed, match=r"spec\.loader\.allowPickle") as failed:
        loaded(folder)
    assert failed.value.reason == "PickleRefused"
    captioner = loaded(folder, Loader(allow_pickle=True))
    [caption] = captions(captioner, [picture("shapes-01.png")], "", Settled())
    assert caption.text == TRUTH["shapes-01.png"]["captions"]["plain"]


def test_the_number_format_follows_the_manifest(tmp_path: Path) -> None:
    folder = SHAPES / "models" / "shapes-basic"
    assert loaded(folder)._is.model.dtype == torch.float32
    half = Loader.model_validate({"dtype": "bfloat16"})
    assert loaded(folder, half)._is.model.dtype == torch.bfloat16
