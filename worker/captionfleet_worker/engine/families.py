"""What each family of captioners expects: no text, a prefix, a prompt, or a chat.

Told from the config's model_type and what the processor takes, never from tags of a hub. A person
may overrule it by spec.pipelineTag.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from captionfleet.resources.model import PipelineTag
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


@dataclass(frozen=True)
class Recipe:
    """How to talk to one kind of model."""

    family: Family
    default_prompt: str = ""
    """Asked when nobody asked anything."""


_RECIPES = {
    "vision-encoder-decoder": Recipe(Family.IMAGE),
    "blip": Recipe(Family.PREFIXED),
    "git": Recipe(Family.PREFIXED),
    # BLIP-2 captions best when asked nothing, but it must be asked.
    "blip-2": Recipe(Family.PROMPTED),
    "instructblip": Recipe(Family.PROMPTED, "Write a short description for the image."),
    "florence2": Recipe(Family.PROMPTED, "<MORE_DETAILED_CAPTION>"),
    "paligemma": Recipe(Family.PROMPTED, "caption en"),
    "kosmos-2": Recipe(Family.PROMPTED, "An image of"),
}
_CHAT = Recipe(Family.CHAT, "Describe this image in one sentence.")


@dataclass(frozen=True)
class Takes:
    """What the processor of a checkpoint takes beside pictures."""

    text: bool
    chat: bool = False
    """There is a chat template."""
    placeholder: bool = False
    """A text says by a token where its picture stands."""


def takes_no_text(model_type: str) -> bool:
    recipe = _RECIPES.get(model_type)
    return recipe is not None and recipe.family is Family.IMAGE


def recipe_for(model_type: str, takes: Takes, tag: PipelineTag | None = None) -> Recipe:
    """Raises LoadFailed if nobody knows how to ask this kind of model, or not as `tag` says."""
    known = _RECIPES.get(model_type)
    if tag is PipelineTag.IMAGE_TO_TEXT:
        return known or _without_chat(takes)
    if tag is PipelineTag.IMAGE_TEXT_TO_TEXT:
        return _with_text(known, takes)
    if known:
        return known
    if takes.chat:
        return _CHAT
    raise LoadFailed(
        "UnsupportedModel",
        f"models of type {model_type} are asked by a chat template, and this one has none: "
        "add chat_template.jinja to its files, set spec.pipelineTag to image-to-text to have it "
        "go on with a plain text, or wrap it in a CustomModel",
    )


def _without_chat(takes: Takes) -> Recipe:
    if takes.placeholder:
        return Recipe(Family.PLAIN)
    return Recipe(Family.PREFIXED if takes.text else Family.IMAGE)


def _with_text(known: Recipe | None, takes: Takes) -> Recipe:
    if takes.chat:
        return _CHAT
    if known and known.family is not Family.IMAGE:
        return known
    lacks = "takes no text" if known else "has no chat template"
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

    def problem(self, prompt: str) -> str | None:
        """Why this prompt cannot be used, or None."""
        if not prompt or prompt in self.whole_prompts:
            return None
        if self.family is Family.IMAGE:
            return "this model takes no prompt: leave it empty"
        for token in sorted(self.whole_prompts):
            if token in prompt:
                return f"{token} must be the whole prompt: remove the text around it"
        for token in sorted(self.special_tokens, key=len, reverse=True):
            if token in prompt:
                return f"the prompt contains {token!r}, which steers this model: remove it"
        return None


def steering_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """The special tokens that no one writes by accident (some vocabularies pad with a `!`)."""
    return frozenset(token for token in tokens if len(token) > 2)
