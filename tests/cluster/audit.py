"""The API server's audit log as a list of requests: who did what to which object."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    user: str
    """For a service account `system:serviceaccount:<namespace>:<name>`."""
    agent: str
    """User agent: tells programs of one user apart."""
    manager: str
    """Field manager, if the request named one."""
    verb: str
    group: str
    resource: str
    """With its subresource, as roles name it: `deployments/scale`."""
    namespace: str
    name: str
    code: int
    """HTTP status of the answer; of a watch, of its beginning."""
    dry_run: bool
    time: str
    """When it came in, RFC 3339 with microseconds."""

    @property
    def is_write(self) -> bool:
        """Whether it changed, or tried to change, what is stored."""
        return self.verb in WRITES and not self.dry_run


def read_requests(log: Path) -> list[Request]:
    """Requests for objects. A watch is in the log when it begins and when it ends: once here."""
    found: dict[str, Request] = {}
    with log.open() as lines:
        for line in lines:
            if line.endswith("\n"):  # the last one may be half written
                event = json.loads(line)
                if "objectRef" in event:
                    found.setdefault(event["auditID"], _request(event))
    return list(found.values())


def _request(event: dict[str, Any]) -> Request:
    what = event["objectRef"]
    query = parse_qs(urlsplit(event["requestURI"]).query)
    return Request(
        user=event["user"]["username"],
        agent=event.get("userAgent", ""),
        manager=query.get("fieldManager", [""])[0],
        verb=event["verb"],
        group=what.get("apiGroup", ""),
        resource="/".join(filter(None, (what.get("resource"), what.get("subresource")))),
        namespace=what.get("namespace", ""),
        name=what.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        dry_run="dryRun" in query,
        time=event["requestReceivedTimestamp"],
    )
