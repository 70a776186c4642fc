"""Code that a checkpoint brings (spec.loader.trustRemoteCode): when it may run, and what it offers.

It runs with the engine's rights. So it must be the code of one commit that somebody looked at.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine.protocol import LoadFailed

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CAPTIONERS = (
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForCausalLM",
    "AutoModel",
)
"""What transformers may call the class that captions, the most telling name first."""
_NAMING = (
    "config.json", "processor_config.json", "preprocessor_config.json",
    "video_preprocessor_config.json", "tokenizer_config.json",
)  # fmt: skip
"""Files whose auto_map names classes of the checkpoint's own."""


def check_pinned(spec: ModelSpec) -> None:
    """Raises LoadFailed if trusted code could change under us.

    The manifest's own rules say the same; they were judged elsewhere, so it is asked again.
    """
    hub = spec.source.hugging_face if spec.source else None
    if spec.loader.trust_remote_code and not (hub and _COMMIT.fullmatch(hub.revision)):
        raise LoadFailed(
            "InvalidSpec",
            "spec.loader.trustRemoteCode runs the repository's code: name a "
            "spec.source.huggingFace whose revision is a commit of 40 hex digits",
        )


def check_all_here(folder: Path) -> None:
    """Raises LoadFailed if a file names classes of another repository, which nobody pinned."""
    for file in (folder / name for name in _NAMING):
        for reference in _references(file):
            if "--" in reference:
                raise LoadFailed(
                    "UnsupportedModel",
                    f"{file.name} takes code from another repository ({reference}), which "
                    "spec.source.huggingFace.revision does not pin: choose a repository that has "
                    "its own code, or wrap the model in a CustomModel",
                )


def own_captioner(config: Mapping[str, Any]) -> str | None:
    """The Auto class under which the checkpoint's code offers a captioner, if it does."""
    offered = config.get("auto_map") or {}
    return next((name for name in _CAPTIONERS if name in offered), None)


def _references(file: Path) -> list[str]:
    if not file.is_file():
        return []
    named = json.loads(file.read_text()).get("auto_map") or {}
    if not isinstance(named, dict):  # old tokenizers: a list for AutoTokenizer alone
        named = {"AutoTokenizer": named}
    found = [each for value in named.values() for each in _as_list(value)]
    return [each for each in found if isinstance(each, str)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
