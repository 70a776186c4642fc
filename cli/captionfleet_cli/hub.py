"""What a Hugging Face hub tells about a repository: whether it is there, and how large."""

import os
from dataclasses import dataclass

import httpx

_WEIGHTS = (".safetensors", ".bin")


class NoSuchRepo(Exception):
    """The hub knows no such repository, or keeps it from us; the message says what to do."""


@dataclass(frozen=True)
class RepoFacts:
    size_bytes: int
    """Of what loading needs: safetensors if there are any, else .bin files, and the small files."""
    safetensors: bool
    license: str | None


def look_up(repo: str, revision: str) -> RepoFacts | None:
    """Ask the hub that HF_ENDPOINT names. None if it cannot be reached. Raises NoSuchRepo."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    try:
        answer = httpx.get(
            f"{endpoint}/api/models/{repo}/revision/{revision}",
            params={"blobs": "true"},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=10,
            follow_redirects=True,
        )
    except httpx.HTTPError:
        return None
    if answer.status_code in (401, 403, 404):
        raise NoSuchRepo(
            f"{endpoint} shows no {repo} at revision {revision}. Check the spelling; if it is "
            "private or gated, accept its terms there and set HF_TOKEN."
        )
    try:
        return facts(answer.raise_for_status().json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None  # not a hub's answer, for example a proxy's page


def facts(document: dict[str, object]) -> RepoFacts:
    """Pure: the hub's document about a repository in, facts out."""
    files = document["siblings"]
    assert isinstance(files, list)
    sizes = {str(f["rfilename"]): int(f.get("size") or 0) for f in files}
    weights = next(
        (found for ending in _WEIGHTS if (found := _ending(sizes, ending))), dict[str, int]()
    )
    small = sum(s for n, s in sizes.items() if n.endswith((".json", ".txt", ".jinja", ".model")))
    card = document.get("cardData")
    license_ = card.get("license") if isinstance(card, dict) else None
    return RepoFacts(
        sum(weights.values()) + small,
        any(name.endswith(".safetensors") for name in weights),
        str(license_) if license_ else None,
    )


def _ending(sizes: dict[str, int], ending: str) -> dict[str, int]:
    """Weights at the top of the repository; folders hold other formats and checkpoints."""
    return {n: s for n, s in sizes.items() if n.endswith(ending) and "/" not in n}
