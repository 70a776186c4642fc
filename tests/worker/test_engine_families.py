"""Families of captioners beyond the trained toys, by tiny models of random weights.

They run inside the test's own process: seven engines would import torch seven times.
"""

import io
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.conftest import SHAPES
from tests.worker.engines import TRUTH, normalized
from tests.worker.tiny_models import BUILDERS, build

from captionfleet.resources.model import Generation, Loader, PipelineTag
from captionfleet_worker.engine.answering import Caption
from captionfleet_worker.engine.checkpoint import load_checkpoint
from captionfleet_worker.engine.families import Family, PromptRules, Takes, recipe_for
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine.transformers_captioner import TransformersCaptioner

# transformers' own habits with numpy; nothing of ours.
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIX = Generation(max_new_tokens=6, min_new_tokens=6)
WITHOUT_CHAT, WITH_TEXT = PipelineTag.IMAGE_TO_TEXT, PipelineTag.IMAGE_TEXT_TO_TEXT
PICTURES = [
    Image.new("RGB", (40, 90), "red"),
    Image.new("RGB", (64, 64), "blue"),
    Image.linear_gradient("L").convert("RGB"),
]
DEFAULTS = {
    "git": "", "blip-2": "", "instructblip": "Write a short description for the image.",
    "paligemma": "caption en", "florence2": "<MORE_DETAILED_CAPTION>", "kosmos-2": "An image of",
    "qwen2_vl": "Describe this image in one sentence.",
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "Tiny":
    return Tiny(tmp_path_factory.mktemp("tiny"))


class Tiny:
    """Builds and loads each family once."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.captioner = cache(self._captioner)

    def _captioner(self, family: str) -> TransformersCaptioner:
        return loaded(build(family, self._place / family))


def loaded(
    folder: Path, loader: Loader | None = None, tag: PipelineTag | None = None
) -> TransformersCaptioner:
    return TransformersCaptioner(load_checkpoint(folder, loader or Loader(), "cpu", tag))


def captions(
    captioner: TransformersCaptioner, images: list[Image.Image], prompt: str, how: Generation
) -> list[Caption]:
    return captioner.generate(captioner.prepare(images, prompt, how))


def asked(captioner: TransformersCaptioner, prompt: str) -> list[Caption]:
    return captions(captioner, list(PICTURES), prompt, SIX)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_batch_of_mixed_sizes_changes_no_caption(family: str, tiny: Tiny) -> None:
    captioner = tiny.captioner(family)
    together = asked(captioner, "")
    alone = [captions(captioner, [picture], "", SIX)[0] for picture in PICTURES]
    assert together == alone
    assert all(caption.tokens == 6 for caption in together)


@pytest.mark.parametrize("family", BUILDERS)
def test_an_empty_prompt_means_the_familys_own(family: str, tiny: Tiny) -> None:
    captioner = tiny.captioner(family)
    assert asked(captioner, "") == asked(captioner, DEFAULTS[family])


@pytest.mark.parametrize("family", ["blip-2", "instructblip", "paligemma", "kosmos-2", "qwen2_vl"])
def test_what_was_asked_is_no_part_of_the_caption(family: str, tiny: Tiny) -> None:
    for caption in asked(tiny.captioner(family), "describe the short sentence"):
        assert not caption.text.startswith("describe the")
        assert caption.tokens == 6 and len(caption.text.split()) <= 6


def test_git_goes_on_with_a_prefix_instead_of_starting_anew(tiny: Tiny) -> None:
    captioner = tiny.captioner("git")
    seen: list[list[int]] = []
    model = captioner._is.model
    watch = model.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["input_ids"][0].tolist()), with_kwargs=True
    )
    captions = asked(captioner, "a red picture")
    watch.remove()
    assert captioner._is.tokenizer.decode(seen[0]) == "<s> a red picture"
    assert all(caption.text.startswith("a red picture ") for caption in captions)


def test_a_task_token_of_florence_stands_alone(tiny: Tiny) -> None:
    captioner = tiny.captioner("florence2")
    assert captioner.prompt_problem("<CAPTION>") is None
    assert captioner.prompt_problem("what does the image describe") is None
    assert "whole prompt" in (captioner.prompt_problem("<CAPTION> please") or "")
    assert all(caption.text for caption in asked(captioner, "<CAPTION>"))


def test_a_placeholder_of_the_processor_is_refused(tiny: Tiny) -> None:
    told = tiny.captioner("qwen2_vl").prompt_problem("two <|image_pad|> please")
    assert told and "'<|image_pad|>'" in told


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
    plain = loaded(folder, tag=WITHOUT_CHAT)
    seen = plain._inputs(list(PICTURES), "a red", "")
    text = plain._is.tokenizer.decode(seen["input_ids"][0])
    assert text.endswith("a red") and plain._is.processor.image_token in text
    assert "user" not in text and "assistant" not in text
    together = asked(plain, "a red")
    assert together == [captions(plain, [picture], "a red", SIX)[0] for picture in PICTURES]
    assert all(caption.text.startswith("a red") for caption in together)
    assert all(caption.text for caption in asked(plain, ""))


def test_a_picture_of_qwen_stands_between_its_marks(tmp_path: Path) -> None:
    plain = loaded(build("qwen2_vl", tmp_path), tag=WITHOUT_CHAT)
    assert plain._is.picture == "<|vision_start|><|image_pad|><|vision_end|>"


def test_a_chat_template_that_wants_plain_text_gets_it(tmp_path: Path) -> None:
    folder = shutil.copytree(SHAPES / "models" / "shapes-chat", tmp_path / "chat")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|user|><image>{{ m['content'] | trim }}<end_of_utterance>"
        "{% endfor %}<|assistant|>"
    )
    [caption] = captions(loaded(folder), [picture("shapes-01.png")], "", Generation())
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
    [caption] = captions(captioner, [picture("shapes-01.png")], "", Generation())
    assert caption.text == TRUTH["shapes-01.png"]["captions"]["plain"]


def test_the_number_format_follows_the_manifest(tmp_path: Path) -> None:
    folder = SHAPES / "models" / "shapes-basic"
    assert load_checkpoint(folder, Loader(), "cpu").model.dtype == torch.float32
    half = Loader.model_validate({"dtype": "bfloat16"})
    assert load_checkpoint(folder, half, "cpu").model.dtype == torch.bfloat16
