"""The demo's offers: small captioners of the public hub, and whether the hub can be reached."""

import asyncio
from dataclasses import dataclass

import httpx

from captionfleet.resources import ModelManifest, parse_manifest

_BETWEEN_LOOKS = 60.0
_TIMEOUT = 3.0


@dataclass(frozen=True)
class Offer:
    name: str
    display_name: str
    repo: str
    size_bytes: int
    """Of the weights that are fetched."""
    license: str
    allow_pickle: bool = False
    """The repository has no safetensors file."""

    def manifest(self) -> ModelManifest:
        manifest = parse_manifest(
            {
                "apiVersion": "captionfleet.io/v1alpha1",
                "kind": "CaptionModel",
                "metadata": {"name": self.name},
                "spec": {
                    "displayName": self.display_name,
                    "source": {"huggingFace": {"repo": self.repo}},
                    "generation": {"maxNewTokens": 40},
                    "loader": {"allowPickle": self.allow_pickle},
                },
            }
        )
        assert isinstance(manifest, ModelManifest)
        return manifest


OFFERS = (
    Offer("blip-base", "BLIP base", "Salesforce/blip-image-captioning-base", 990_000_000,
          "BSD-3-Clause"),
    Offer("git-base-coco", "GIT base COCO", "microsoft/git-base-coco", 707_000_000, "MIT"),
    Offer("vit-gpt2", "ViT-GPT2", "nlpconnect/vit-gpt2-image-captioning", 982_000_000,
          "Apache-2.0", allow_pickle=True),
)  # fmt: skip


class Hub:
    """Looks from time to time; `reachable` is None until the first look."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.reachable: bool | None = None

    async def watch(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
            while True:
                self.reachable = await self._look(client)
                await asyncio.sleep(_BETWEEN_LOOKS)

    async def _look(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.head(self.endpoint)
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return answer.status_code < 500
