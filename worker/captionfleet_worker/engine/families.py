"""What each family of captioners expects: no text, a prefix, a prompt, or a chat.

Told from the config's model_type and what the processor takes, never from tags of a hub. A person
may overrule it by spec.pipelineTag.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from captionfleet.resources.model import PipelineTag
from captionfleet_worker.engine.generation import Habits
from captionfleet_worker.engine.protocol import LoadFailed


class Family(StrEnum):
    IMAGE = "image"
    """Sees the picture alone."""
    PREFIXED = "prefixed"
    """Sees the picture alone, or goes on with a text begun for it."""
    PROMPTED = "prompted"
    """Always needs a text beside the picture."""
    CHAT = "chat"
    """Answers a message, by the chat template of its checkpoint."""
    PLAIN = "plain"
    """Made for chats, and asked without: goes on with a text that the picture stands before."""


class Words(StrEnum):
    """What a model's own tokens are, beside words."""

    PLAIN = "plain"
    TASK = "task"
    """The answer to a task token (Florence-2), which may name places in the picture."""
    GROUNDED = "grounded"
    """Phrases tied to places in the picture (Kosmos-2)."""


@dataclass(frozen=True)
class Recipe:
    """How to talk to one kind of model where its manifest says nothing."""

    family: Family
    default_prompt: str = ""
    """Asked when nobody asked anything."""
    max_new_tokens: int = Habits.max_new_tokens
    num_beams: int = Habits.num_beams
    words: Words = Words.PLAIN
    needs: tuple[str, ...] = ()
    """Python packages without which it cannot be built."""
    most_pixels: int | None = None
    """Pixels of a picture above which it is shrunk, for models that see every pixel there is."""
    overflows: bool = False
    """Its numbers leave the range of float16, so that captions turn to noise there."""
    opens_with: tuple[str, ...] = ()
    """Special tokens that a person's prompt may begin with."""

    @property
    def habits(self) -> Habits:
        return Habits(self.max_new_tokens, self.num_beams, self.default_prompt)


_IMAGE, _PREFIXED, _PROMPTED = Family.IMAGE, Family.PREFIXED, Family.PROMPTED
_ASKED = "Describe this image in one sentence."
_VISION = ("torchvision",)
"""Processors that also see videos are written for torchvision alone."""
_ENOUGH = 1280 * 28 * 28
"""About 1280 visual tokens of a Qwen. Its checkpoints allow 16 times that."""


def _chat(
    needs: tuple[str, ...] = (), most_pixels: int | None = None, overflows: bool = False
) -> Recipe:
    return Recipe(
        Family.CHAT, _ASKED, 128, needs=needs, most_pixels=most_pixels, overflows=overflows
    )


_CHAT = _chat()
_QWEN = _chat(_VISION, _ENOUGH)

# docs/models.md shows this table to people; a test keeps them together.
RECIPES: dict[str, Recipe] = {
    # Sees the picture alone, or goes on with a prefix. Never an empty text: generate() raises.
    "vision-encoder-decoder": Recipe(_IMAGE),
    "blip": Recipe(_PREFIXED),
    "git": Recipe(_PREFIXED),
    # BLIP-2 captions best when asked nothing, but it must be asked.
    "blip-2": Recipe(_PROMPTED),
    "instructblip": Recipe(_PROMPTED, "Write a short description for the image.", 100),
    "florence2": Recipe(_PROMPTED, "<MORE_DETAILED_CAPTION>", 256, 3, Words.TASK),
    "paligemma": Recipe(_PROMPTED, "caption en", 128, overflows=True),
    "kosmos-2": Recipe(
        _PROMPTED, "An image of", 128, words=Words.GROUNDED, opens_with=("<grounding>",)
    ),
    # Answers a message, by the chat template of its checkpoint.
    "idefics2": _CHAT,
    "idefics3": _CHAT,
    "llava": _CHAT,
    "llava_next": _CHAT,
    "mllama": _CHAT,
    "gemma3": _chat(overflows=True),
    "gemma3n": _chat(("timm",), overflows=True),
    "smolvlm": _chat(("torchvision", "num2words")),
    "llava_onevision": _chat(_VISION),
    "internvl": _chat(_VISION),
    "lfm2_vl": _chat(_VISION),
    "gemma4": _chat(_VISION, overflows=True),
    "minicpmv4_6": _chat(_VISION),
    "molmo2": _chat(_VISION),
    "glm4v": _QWEN,
    "glm4v_moe": _QWEN,
    "glm46v": _QWEN,
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "qwen3_vl_moe": _QWEN,
    "qwen3_5": _QWEN,
    "qwen3_5_moe": _QWEN,
}
"""By model_type. A type that is not here is a chat model without special needs."""


@dataclass(frozen=True)
class Takes:
    """What the processor of a checkpoint takes beside pictures."""

    text: bool
    chat: bool = False
    """There is a chat template."""
    placeholder: bool = False
    """A text says by a token where its picture stands."""


def takes_no_text(model_type: str) -> bool:
    return recipe_of(model_type).family is Family.IMAGE


def recipe_of(model_type: str) -> Recipe:
    """What is known of this kind of model before it is loaded."""
    return RECIPES.get(model_type, _CHAT)


def recipe_for(model_type: str, takes: Takes, tag: PipelineTag | None = None) -> Recipe:
    """Raises LoadFailed if nobody knows how to ask this kind of model, or not as `tag` says."""
    known = recipe_of(model_type)
    if tag is PipelineTag.IMAGE_TO_TEXT:
        return _without_chat(known, takes)
    if tag is PipelineTag.IMAGE_TEXT_TO_TEXT:
        return _with_text(known, takes)
    if known.family is not Family.CHAT or takes.chat:
        return known
    raise LoadFailed(
        "UnsupportedModel",
        f"models of type {model_type} are asked by a chat template, and this one has none: "
        "add chat_template.jinja to its files, set spec.pipelineTag to image-to-text to have it "
        "go on with a plain text, or wrap it in a CustomModel",
    )


def _without_chat(known: Recipe, takes: Takes) -> Recipe:
    if known.family is not Family.CHAT:
        return known
    asked = Family.PREFIXED if takes.text else Family.IMAGE
    return replace(known, family=Family.PLAIN if takes.placeholder else asked, default_prompt="")


def _with_text(known: Recipe, takes: Takes) -> Recipe:
    if takes.chat:
        return known if known.family is Family.CHAT else _CHAT
    if known.family not in (Family.IMAGE, Family.CHAT):
        return known
    lacks = "takes no text" if known.family is Family.IMAGE else "has no chat template"
    raise LoadFailed(
        "UnsupportedModel",
        f"spec.pipelineTag is image-text-to-text, but this model {lacks}: set it to image-to-text, "
        "or leave it out",
    )


@dataclass(frozen=True)
class PromptRules:
    """What a person's prompt must not contain, for one loaded model."""

    family: Family
    special_tokens: frozenset[str]
    whole_prompts: frozenset[str] = field(default=frozenset())
    """Task tokens (Florence-2) that are a prompt of their own and stand alone."""
    opens_with: tuple[str, ...] = ()
    """Special tokens that it may begin with all the same."""

    def problem(self, prompt: str) -> str | None:
        """Why this prompt cannot be used, or None."""
        if not prompt or prompt in self.whole_prompts:
            return None
        if self.family is Family.IMAGE:
            return "this model takes no prompt: leave it empty"
        for token in sorted(self.whole_prompts):
            if token in prompt:
                return f"{token} must be the whole prompt: remove the text around it"
        opening = next((token for token in self.opens_with if prompt.startswith(token)), "")
        for token in sorted(self.special_tokens, key=len, reverse=True):
            if token in prompt.removeprefix(opening):
                return f"the prompt contains {token!r}, which steers this model: remove it"
        return None


def steering_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """The special tokens that no one writes by accident (some vocabularies pad with a `!`)."""
    return frozenset(token for token in tokens if len(token) > 2)
