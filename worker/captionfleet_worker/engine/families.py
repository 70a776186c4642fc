"""What each family of captioners expects: no text, a prefix, a prompt, or a chat.

Decided by the config's model_type and the presence of a chat template, never by tags of a hub.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

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


def recipe_for(model_type: str, has_chat_template: bool) -> Recipe:
    """Raises LoadFailed if nobody knows how to ask this kind of model."""
    if recipe := _RECIPES.get(model_type):
        return recipe
    if has_chat_template:
        return _CHAT
    raise LoadFailed(
        "UnsupportedModel",
        f"models of type {model_type} are asked by a chat template, and this one has none: "
        "add chat_template.jinja to its files, or wrap it in a CustomModel",
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
