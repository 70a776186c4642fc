"""One operator at a time: a Lease that its holder renews. Others stand by and say so."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import structlog

from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet_operator.cluster.kinds import LEASE
from captionfleet_operator.cluster.naming import MANAGER

log = structlog.get_logger()

DURATION_SECONDS = 30
RENEW_SECONDS = 10.0
_ASK_SECONDS = 2.0


class LeaseLost(Exception):
    """Somebody else may act now: end at once."""


class OperatorLease:
    """Held under `identity`. A restart under the same identity goes on at once."""

    def __init__(self, api: KubernetesAPI, namespace: str, identity: str) -> None:
        self._api = api
        self._identity = identity
        self._path = path_of(LEASE.api_version, LEASE.plural, namespace, MANAGER)
        self._folder = path_of(LEASE.api_version, LEASE.plural, namespace)
        self._lease: dict[str, Any] | None = None
        self._seen: tuple[str, float] | None = None
        self.holder = ""
        """Who holds it, as far as known."""

    @property
    def held(self) -> bool:
        return self._lease is not None

    async def acquire(self) -> None:
        """Wait until it is ours."""
        told = ""
        while not await self._try():
            if self.holder != told:
                log.warning("standing by: another operator is at work", holder=self.holder)
                told = self.holder
            await asyncio.sleep(_ASK_SECONDS)
        log.info("this operator is at work", lease=MANAGER, identity=self._identity)

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLost, well before anybody else may take it."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                async with asyncio.timeout(
                    renewed + DURATION_SECONDS - RENEW_SECONDS - time.monotonic()
                ):
                    renewed = await self._renew()
            except TimeoutError as error:
                raise LeaseLost("the lease could not be renewed in time") from error

    async def _renew(self) -> float:
        """Until it worked. Returns when the renewal that worked was sent."""
        while True:
            sent = time.monotonic()
            try:
                await self._take(self._lease)
                return sent
            except KubernetesError as error:
                log.warning("lease not renewed; tried again", why=str(error))
                if error.status == 409:
                    await self._look_again()
            await asyncio.sleep(_ASK_SECONDS)

    async def _look_again(self) -> None:
        """An answer may have got lost: what was renewed is still ours."""
        there = await self._api.get(self._path)
        holder = ((there or {}).get("spec") or {}).get("holderIdentity")
        if holder != self._identity:
            raise LeaseLost(f"the lease was taken by {holder or 'nobody'}")
        self._lease = there

    async def release(self) -> None:
        """Let the next one begin without waiting."""
        if self._lease:
            body = {**self._lease, "spec": {**self._lease["spec"], "holderIdentity": ""}}
            self._lease = None
            await self._api.replace(self._path, body)

    async def _try(self) -> bool:
        try:
            there = await self._api.get(self._path)
            if there is not None and not self._is_free(there):
                return False
            await self._take(there)
        except KubernetesError as error:
            if error.status != 409:
                log.warning("the lease cannot be read or written", why=str(error))
            return False
        return True

    def _is_free(self, lease: dict[str, Any]) -> bool:
        """Ours already, given up, or not renewed while we watched: clocks are not compared."""
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        if self.holder in ("", self._identity):
            return True
        renewed = str(spec.get("renewTime"))
        if self._seen is None or self._seen[0] != renewed:
            self._seen = (renewed, time.monotonic())
        return time.monotonic() - self._seen[1] > DURATION_SECONDS

    async def _take(self, there: dict[str, Any] | None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (there or {}).get("spec") or {}
        changes = before.get("leaseTransitions", 0)
        if before.get("holderIdentity") != self._identity:
            changes, before = changes + 1, {"acquireTime": now}
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": changes,
        }
        if there is None:
            body = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": MANAGER},
                "spec": spec,
            }
            self._lease = await self._api.create(self._folder, body)
        else:
            self._lease = await self._api.replace(self._path, {**there, "spec": spec})
        self.holder = self._identity
