"""Runs in the hook of quickstart.enabled: makes the resources that are not there yet.

It waits for the API server to know their types, which were installed a moment ago, and leaves
alone what somebody has made or changed. Reads manifests as JSON from the environment.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from ssl import create_default_context

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 120
_LATER = (403, 404, 429, 500, 503, 504)
"""Answers of a server that does not know the rights or the type yet, or is busy."""
_told: set[str] = set()


def main() -> None:
    namespace = os.environ["CAPTIONFLEET_NAMESPACE"]
    deadline = time.monotonic() + _SECONDS
    for manifest in json.loads(os.environ["MANIFESTS"]):
        plural = f"{manifest['kind'].lower()}s"
        # In the api's name, so that console and REST may change it later.
        maker = "?fieldManager=captionfleet-api"
        path = f"/apis/{manifest['apiVersion']}/namespaces/{namespace}/{plural}{maker}"
        what = f"{manifest['kind']} {manifest['metadata']['name']}"
        while (status := _create(path, manifest)) in _LATER and time.monotonic() < deadline:
            time.sleep(1)
        if status not in (201, 409):
            sys.exit(f"quickstart: {what} was not made, see above")
        print(f"quickstart: {what} " + ("made" if status == 201 else "was there and is left alone"))


def _create(path: str, manifest: object) -> int:
    """The status of the answer, or 503 if there is none. Says what was wrong."""
    server = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    token = (_ACCOUNT / "token").read_text()
    request = urllib.request.Request(
        f"https://{host}:{server[1]}{path}",
        json.dumps(manifest).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    tls = create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, context=tls, timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            _tell(f"{error.code}: {_message(error.read())}")
        return error.code
    except OSError as error:
        _tell(f"the API server does not answer: {error}")
        return 503


def _tell(words: str) -> None:
    """Once, however often it is tried."""
    if words not in _told:
        _told.add(words)
        print(f"quickstart: {words}", flush=True)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


if __name__ == "__main__":
    main()
