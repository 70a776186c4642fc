"""What the API server holds of the pools' children and pods, as last seen. Changes nothing."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from captionfleet_operator.cluster.children import Key
from captionfleet_operator.cluster.naming import POOL_LABEL

Object = Mapping[str, Any]


class Mirror:
    """Objects by (kind, name). `changed` is called with the key and the pool of each change."""

    def __init__(self, changed: Callable[[Key, str], None]) -> None:
        self._changed = changed
        self._objects: dict[Key, Object] = {}
        self._of_pool: dict[str, set[Key]] = defaultdict(set)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def of_pool(self, pool: str, kind: str) -> list[Object]:
        keys = self._of_pool.get(pool, ())
        return [self._objects[key] for key in sorted(keys) if key[0] == kind]

    def keys_of_pool(self, pool: str) -> set[Key]:
        return set(self._of_pool.get(pool, ()))

    def pools(self) -> set[str]:
        """Pools of which anything is there."""
        return {pool for pool, keys in self._of_pool.items() if keys}

    def see(self, kind: str, body: Object, *, gone: bool = False) -> None:
        """Take in one object of a watch or of a write's answer. Older news are dropped."""
        key = (kind, body["metadata"]["name"])
        known = self._objects.get(key)
        if known and _version(known) > _version(body):
            return
        if gone:
            self._forget(key)
        elif known is None or _version(known) != _version(body):
            self._objects[key] = body
            pool = _pool(body)
            if known and _pool(known) != pool:  # somebody changed its label
                self._of_pool[_pool(known)].discard(key)
                self._changed(key, _pool(known))
            self._of_pool[pool].add(key)
            self._changed(key, pool)

    def replace(self, kind: str, items: Iterable[Object], version: str) -> None:
        """Take in a whole list of one kind, read at this resource version."""
        present = set()
        for body in items:
            present.add((kind, body["metadata"]["name"]))
            self.see(kind, body)
        for key in [k for k in self._objects if k[0] == kind and k not in present]:
            # Made after the list was read? Then it is not in it, and yet there.
            if _version(self._objects[key]) <= int(version):
                self._forget(key)

    def _forget(self, key: Key) -> None:
        if body := self._objects.pop(key, None):
            pool = _pool(body)
            self._of_pool[pool].discard(key)
            self._changed(key, pool)


def _pool(body: Object) -> str:
    labels: Mapping[str, str] = body["metadata"].get("labels") or {}
    return labels.get(POOL_LABEL, "")


def _version(body: Object) -> int:
    """Comparable within one kind, as Kubernetes promises since 1.35 and always kept."""
    return int(body["metadata"].get("resourceVersion") or 0)
