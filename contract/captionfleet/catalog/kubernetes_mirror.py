"""The models and pools of one namespace as they were last seen, fed by lists and watches.

No I/O. An object that our types refuse is told as a problem, and what it said before still counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from captionfleet.resources import (
    API_VERSION,
    KINDS,
    InvalidManifest,
    Manifest,
    ModelManifest,
    PoolManifest,
    parse_manifest,
)
from captionfleet.resources.manifest import Metadata

Body = Mapping[str, Any]
Key = tuple[str, str]

_KEPT = ("name", "labels", "generation", "creationTimestamp", "deletionTimestamp", "uid")
_NOISE = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class _Seen:
    """`manifest` is None if our types never understood it."""

    manifest: Manifest | None
    uid: str
    version: int
    problems: tuple[str, ...] = ()


class ManifestMirror:
    def __init__(self) -> None:
        self._seen: dict[Key, _Seen] = {}
        self._listed: set[str] = set()
        self._deleted: set[str] = set()

    def models(self) -> dict[str, ModelManifest]:
        found = (each.manifest for each in self._seen.values())
        return {m.name: m for m in found if isinstance(m, ModelManifest)}

    def pools(self) -> dict[str, PoolManifest]:
        found = (each.manifest for each in self._seen.values())
        return {m.name: m for m in found if isinstance(m, PoolManifest)}

    def get(self, kind: str, name: str) -> Manifest | None:
        seen = self._seen.get((kind, name))
        return seen.manifest if seen else None

    def problems(self) -> list[str]:
        return [
            f"{kind} {name}: {problem}"
            for (kind, name), each in sorted(self._seen.items())
            for problem in each.problems
        ]

    def complete(self) -> bool:
        """Every kind was listed at least once."""
        return self._listed == set(KINDS)

    def see(self, event_type: str, body: Body) -> bool:
        """Take in one event of a watch, or the answer to a write. True if it changed anything."""
        metadata = body["metadata"]
        key, uid = (str(body["kind"]), str(metadata["name"])), str(metadata["uid"])
        known = self._seen.get(key)
        version = int(metadata["resourceVersion"])
        if known and known.version > version:
            return False  # old news: the answer to a write came first
        if event_type == "DELETED":
            self._deleted.discard(uid)
            return self._seen.pop(key, None) is not None
        if uid in self._deleted:
            return False
        seen = self._seen[key] = _judged(body, known)
        return known is None or (seen.manifest, seen.problems) != (known.manifest, known.problems)

    def see_all(self, kind: str, items: Iterable[Body], version: str) -> bool:
        """Take in a whole list of one kind, read at this version. True if it changed anything."""
        changed = kind not in self._listed
        self._listed.add(kind)
        self._deleted.clear()
        present = set()
        for body in items:
            present.add((kind, str(body["metadata"]["name"])))
            changed |= self.see("ADDED", {**body, "kind": kind})
        for key in [k for k in self._seen if k[0] == kind and k not in present]:
            # Made after the list was read? Then it is not in it, and yet there.
            if self._seen[key].version <= int(version):
                del self._seen[key]
                changed = True
        return changed

    def forget(self, kind: str, name: str) -> None:
        """It was deleted by us just now; events on their way do not bring it back."""
        if seen := self._seen.pop((kind, name), None):
            self._deleted.add(seen.uid)


def manifest_of(body: Body, before: Manifest | None = None) -> Manifest:
    """What the server holds as a manifest. Raises InvalidManifest.

    `before` is how it was seen last: parts that did not change are taken from there.
    """
    metadata = {name: body["metadata"][name] for name in _KEPT if name in body["metadata"]}
    annotations = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {k: v for k, v in annotations.items() if k != _NOISE}
    document = {"apiVersion": API_VERSION, "kind": body["kind"], "metadata": metadata}
    if before and _same_spec(metadata, before.metadata):
        dressed = Metadata.model_validate(metadata)
        manifest = before.model_copy(update={"metadata": dressed, "status": None})
    else:
        manifest = parse_manifest({**document, "spec": body.get("spec") or {}})
    return manifest.model_copy(update={"status": _status_of(body)})


def _judged(body: Body, known: _Seen | None) -> _Seen:
    uid, version = str(body["metadata"]["uid"]), int(body["metadata"]["resourceVersion"])
    before = known.manifest if known and known.uid == uid else None
    try:
        manifest = manifest_of(body, before)
    except InvalidManifest as error:
        return _Seen(before, uid, version, tuple(error.problems))
    except ValidationError as error:  # of metadata that changed alone
        return _Seen(before, uid, version, (f"metadata: {error.errors()[0]['msg']}",))
    return _Seen(before if manifest == before else manifest, uid, version)


def _same_spec(metadata: Mapping[str, Any], before: Metadata) -> bool:
    """The server counts generations: as long as it is the same, so is the spec."""
    return (metadata["uid"], metadata["generation"]) == (before.uid, before.generation)


def _status_of(body: Body) -> Any:
    """None if there is none, or another version of the operator wrote it: it writes it anew."""
    if not body.get("status"):
        return None
    type_ = KINDS[str(body["kind"])].model_fields["status"].annotation
    try:
        return next(t for t in type_.__args__ if t is not type(None)).model_validate(  # type: ignore[union-attr]
            body["status"]
        )
    except ValidationError:
        return None
