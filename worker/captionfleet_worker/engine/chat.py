"""Chat templates: how a checkpoint wants its messages written, found out by trying once."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from captionfleet_worker.engine.arguments import check_known
from captionfleet_worker.engine.protocol import LoadFailed

_MARK = "a mark to find again"
_OURS = {"messages", "add_generation_prompt", "tools", "documents", "continue_final_message"}
_HABITS = {"enable_thinking": False}
"""Variables of templates that have them: thinking costs a minute of tokens, and captions
do without."""


class Chat:
    """Turns pictures and a prompt into the inputs of a chat model, by its own template.

    Most templates take a message's content as parts (picture, text); some, such as JoyCaption's,
    as plain text to which they add the picture. Given the wrong one, they write Python's notation
    of the parts into the prompt, without a word, and the captions are merely bad.
    """

    def __init__(self, processor: Any, variables: Mapping[str, Any] | None = None) -> None:
        """Raises LoadFailed if the template takes neither, or knows one of the variables not."""
        self._processor = processor
        self._variables = _checked(_template(processor), variables or {})
        self._in_parts = self._renders(True)
        if not self._in_parts and not self._renders(False):
            raise LoadFailed(
                "UnsupportedModel",
                "its chat template loses the prompt or the picture: correct chat_template.jinja, "
                "or wrap the model in a CustomModel",
            )

    def inputs(self, images: list[Image.Image], prompt: str, system_prompt: str) -> dict[str, Any]:
        """Left-padded tensors for a batch of one question about each picture."""
        conversation = self._conversation(prompt, system_prompt, self._in_parts)
        return dict(
            self._processor.apply_chat_template(
                [conversation] * len(images),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                **self._variables,
                processor_kwargs={"padding": True, "images": [[image] for image in images]},
            )
        )

    def _conversation(self, prompt: str, system_prompt: str, in_parts: bool) -> list[Any]:
        def content(text: str, *before: dict[str, str]) -> Any:
            return [*before, {"type": "text", "text": text}] if in_parts else text

        system = [{"role": "system", "content": content(system_prompt)}] if system_prompt else []
        return [*system, {"role": "user", "content": content(prompt, {"type": "image"})}]

    def _renders(self, in_parts: bool) -> bool:
        """Whether prompt and picture both come out of the template."""
        conversation = self._conversation(_MARK, "", in_parts)
        try:
            text = self._processor.apply_chat_template(
                conversation, add_generation_prompt=True, tokenize=False, **self._variables
            )
        except Exception:  # a template may fail in any way on a shape it does not expect
            return False
        image = str(getattr(self._processor, "image_token", None) or "")
        return _MARK in text and image in text and "'type'" not in text


def _template(processor: Any) -> str:
    """The template that is used when none is named."""
    found = processor.chat_template
    return str(found.get("default", "") if isinstance(found, dict) else found)


def _checked(template: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables, and habits that this template knows. Raises LoadFailed for one it lacks."""
    from jinja2 import Environment, TemplateError
    from jinja2.meta import find_undeclared_variables

    # It reads the template and renders nothing.
    parser = Environment(autoescape=True, extensions=["jinja2.ext.loopcontrols"])
    try:
        known = find_undeclared_variables(parser.parse(template)) - _OURS
    except TemplateError:  # tags of transformers' own: let it judge
        known = {*variables}
    check_known("spec.loader.chatTemplate", variables, known, "its chat template")
    return {name: value for name, value in _HABITS.items() if name in known} | dict(variables)
