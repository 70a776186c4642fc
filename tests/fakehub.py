"""A Hugging Face hub on loopback, as far as downloading goes, for the real huggingface_hub client.

with FakeHub() as hub:
    hub.add("owner/name", folder)
    ... HF_ENDPOINT=hub.url ...
"""

import contextlib
import hashlib
import json
import socket
import threading
import urllib.parse
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

TOKEN = "hf_of_an_account_that_may"


@dataclass(frozen=True)
class HubRepo:
    """What one repository holds at its only commit."""

    files: dict[str, bytes]
    gated: bool

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + content)
        return digest.hexdigest()


@dataclass
class FakeHub:
    """Serves repositories until the with block ends. Gated ones want TOKEN."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    repos: dict[str, HubRepo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request, in order."""
    tokens_seen: set[str] = field(default_factory=set)
    connections: set[socket.socket] = field(default_factory=set)
    breaks: int = 0
    """How many of the next downloads are cut in the middle of the file."""

    def add(self, repo: str, source: Path | dict[str, bytes], *, gated: bool = False) -> HubRepo:
        """Offer the files of a folder, or these, under `owner/name`."""
        if isinstance(source, Path):
            names = [file for file in source.rglob("*") if file.is_file()]
            source = {str(file.relative_to(source)): file.read_bytes() for file in names}
        self.repos[repo] = HubRepo(source, gated)
        return self.repos[repo]

    def fetched(self) -> set[str]:
        """Names of the files that were downloaded, not only asked about."""
        return {a.split("/resolve/")[1].split("/", 1)[1] for a in self.asked
                if a.startswith("GET") and "/resolve/" in a}  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._server.server_address[1]}"

    def __enter__(self) -> "FakeHub":
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Go off the network, open connections included; may be called again."""
        self._server.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: FakeHub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.served.connections.add(self.connection)

    def finish(self) -> None:
        self.served.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `asked` is the log."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.served.asked.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.served.tokens_seen |= {token} - {""}
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner_and_name, rest = (parts[2:4], parts[4:]) if api else (parts[:2], parts[2:])
        repo = self.served.repos.get("/".join(owner_and_name))
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        if len(rest) > 1 and rest[1] not in ("main", repo.commit):
            return self._refuse(404, "RevisionNotFound")
        if not api and repo.gated and token != TOKEN:
            return self._refuse(401, "GatedRepo")
        if api:
            name = "/".join(owner_and_name)
            return self._json(_tree(repo) if rest[:1] == ["tree"] else _info(name, repo))
        return self._file(repo, "/".join(rest[2:]))

    def _file(self, repo: HubRepo, name: str) -> None:
        if name not in repo.files:
            return self._refuse(404, "EntryNotFound")
        content, start = repo.files[name], 0
        if asked := self.headers.get("Range", "").removeprefix("bytes="):
            start = int(asked.split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._body(content[start:])
        return None

    def _body(self, content: bytes) -> None:
        if self.served.breaks > 0:
            self.served.breaks -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _info(name: str, repo: HubRepo) -> dict[str, object]:
    siblings = [{"rfilename": file} for file in sorted(repo.files)]
    return {"_id": "1", "id": name, "modelId": name, "sha": repo.commit, "siblings": siblings,
            "private": False, "gated": "auto" if repo.gated else False, "tags": []}  # fmt: skip


def _tree(repo: HubRepo) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": name, "size": len(content),
         "oid": hashlib.sha1(content).hexdigest()}
        for name, content in sorted(repo.files.items())
    ]  # fmt: skip
