"""Chat templates: how a checkpoint wants its messages written, found out by trying once."""

from typing import Any

from PIL import Image

from captionfleet_worker.engine.protocol import LoadFailed

_MARK = "a mark to find again"


class Chat:
    """Turns pictures and a prompt into the inputs of a chat model, by its own template.

    Most templates take a message's content as parts (picture, text); some, such as JoyCaption's,
    as plain text to which they add the picture. Given the wrong one, they write Python's notation
    of the parts into the prompt, without a word, and the captions are merely bad.
    """

    def __init__(self, processor: Any) -> None:
        """Raises LoadFailed if the template takes neither."""
        self._processor = processor
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
                conversation, add_generation_prompt=True, tokenize=False
            )
        except Exception:  # a template may fail in any way on a shape it does not expect
            return False
        image = str(getattr(self._processor, "image_token", None) or "")
        return _MARK in text and image in text and "'type'" not in text
