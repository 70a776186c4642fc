"""How the code of a model is known again, wherever a catalog keeps it. Pure."""

import hashlib
from collections.abc import Sequence

from captionfleet.resources.model import Custom, CustomFile

SHOWN = 12
"""Digits of a digest that stand in the name of a ConfigMap."""


def digest_of(files: Sequence[CustomFile]) -> str:
    """sha256 over names and contents: what `sha256sum *.py | sha256sum` tells."""
    lines = [f"{sha256_of(f.content)}  {f.path}\n" for f in sorted(files, key=lambda f: f.path)]
    return sha256_of("".join(lines))


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def stands_for(custom: Custom, digest: str) -> bool:
    """The model's code is the one of this digest."""
    if custom.config_map_ref:
        return custom.config_map_ref.name.split("-code-")[-1].startswith(digest[:SHOWN])
    return digest_of(custom.files) == digest
