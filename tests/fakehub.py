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
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

TOKEN = "hf_of_an_account_that_may"
_LARGE = 100_000
"""Bytes from which a file is known by its sha256, as LFS files are."""
_PIECE = 65_536


@dataclass(frozen=True)
class HubRepo:
    """What one repository holds at a commit."""

    files: dict[str, bytes]
    gated: bool
    """Looked up by anybody, downloaded with TOKEN alone."""
    private: bool = False
    """Without TOKEN it is not there."""

    @cached_property
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
    """At what `main` means."""
    commits: dict[tuple[str, str], HubRepo] = field(default_factory=dict)
    """By name and commit, those before it too."""
    asked: list[str] = field(default_factory=list)
    """Method and path of every request, in order."""
    tokens_seen: set[str] = field(default_factory=set)
    connections: set[socket.socket] = field(default_factory=set)
    breaks: int = 0
    """How many of the next downloads are cut in the middle of what they send."""
    pauses: list[str] = field(default_factory=list)
    """Retry-After of the next answers, which are 429."""
    refusals: list[int] = field(default_factory=list)
    """Statuses of the next answers to downloads; 429 asks for no pause at all."""
    continues_at: str = ""
    """Address of a hub where listings say that they go on."""
    wrong: Counter[str] = field(default_factory=Counter)
    """How many of the next downloads of a file bring other bytes, as many as promised."""
    short: set[str] = field(default_factory=set)
    """Files of which only the first half is sent, as if that were all."""
    knows_ranges: bool = True
    """Otherwise whole files are sent, whatever part was asked for."""
    hold_at: int | None = None
    """Downloads that would send more than so many bytes of a file wait there for `go_on`."""
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a download waits."""
    go_on: threading.Event = field(default_factory=threading.Event)
    sends_to: str = ""
    """Address of a hub that keeps the contents: downloads are redirected there."""
    ranges: list[tuple[str, int]] = field(default_factory=list)
    """Downloads in order: file, and the byte they began at."""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes sent of each file."""

    def add(
        self,
        repo: str,
        source: Path | dict[str, bytes],
        *,
        gated: bool = False,
        private: bool = False,
    ) -> HubRepo:
        """Offer the files of a folder, or these, under `owner/name`. What was offered there before
        stays an earlier commit."""
        if isinstance(source, Path):
            names = [file for file in source.rglob("*") if file.is_file()]
            source = {str(file.relative_to(source)): file.read_bytes() for file in names}
        made = self.repos[repo] = HubRepo(source, gated, private)
        self.commits[repo, made.commit] = made
        return made

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
        self.go_on.set()
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
        if self.served.pauses:
            return self._refuse(429, "TooManyRequests", self.served.pauses.pop(0))
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner_and_name, rest = (parts[2:4], parts[4:]) if api else (parts[:2], parts[2:])
        name = "/".join(owner_and_name)
        repo = self.served.repos.get(name)
        if repo is None or (repo.private and token != TOKEN):
            return self._refuse(404 if repo is None else 401, "RepoNotFound")
        if len(rest) > 1 and rest[1] not in ("main", repo.commit):
            repo = self.served.commits.get((name, rest[1]))
        if repo is None:
            return self._refuse(404, "RevisionNotFound")
        if api:
            return self._json(_tree(repo) if rest[:1] == ["tree"] else _info(name, repo))
        if repo.gated and token != TOKEN:
            return self._refuse(403 if token else 401, "GatedRepo")
        if self.served.refusals:
            status = self.served.refusals.pop(0)
            return self._refuse(status, "Refused", "0" if status == 429 else "")
        return self._file(repo, "/".join(rest[2:]))

    def _file(self, repo: HubRepo, name: str) -> None:
        if name not in repo.files:
            return self._refuse(404, "EntryNotFound")
        if self.served.sends_to:
            return self._redirect(self.served.sends_to + self.path)
        content, start = repo.files[name], 0
        if self.served.wrong[name]:
            self.served.wrong[name] -= 1
            content = bytes(len(content))
        elif name in self.served.short:
            content = content[: len(content) // 2]
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if asked and self.served.knows_ranges:
            start = int(asked.split("-")[0])
        if self.command == "GET":
            self.served.ranges.append((name, start))
        if start and start >= len(content):
            return self._refuse(416, "RangeNotSatisfiable")
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_key(repo.files[name])}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._body(name, content[start:])
        return None

    def _body(self, name: str, content: bytes) -> None:
        if self.served.breaks > 0:
            self.served.breaks -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        hold, there = self.served.hold_at, 0
        if hold is not None and len(content) > hold:
            self._send(name, content[:hold])
            self.served.held.set()
            self.served.go_on.wait(60)
            there = hold
        for at in range(there, len(content), _PIECE):
            self._send(name, content[at : at + _PIECE])

    def _send(self, name: str, piece: bytes) -> None:
        try:
            self.wfile.write(piece)
        except OSError:  # who asked has left
            self.close_connection = True
            return
        self.served.sent[name] += len(piece)

    def _redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        if self.served.continues_at and "/tree/" in self.path:
            self.send_header("Link", f'<{self.served.continues_at}{self.path}>; rel="next"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str, retry_after: str = "") -> None:
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _info(name: str, repo: HubRepo) -> dict[str, object]:
    siblings = [{"rfilename": file} for file in sorted(repo.files)]
    return {"_id": "1", "id": name, "modelId": name, "sha": repo.commit, "siblings": siblings,
            "private": False, "gated": "auto" if repo.gated else False, "tags": []}  # fmt: skip


def _tree(repo: HubRepo) -> list[dict[str, object]]:
    return [_entry(name, content) for name, content in sorted(repo.files.items())]


def _entry(name: str, content: bytes) -> dict[str, object]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
    if len(content) < _LARGE:
        return entry
    sha256 = hashlib.sha256(content).hexdigest()
    return entry | {"lfs": {"oid": sha256, "size": len(content), "pointerSize": 134}}


def _key(content: bytes) -> str:
    """What a content is known by: the ETag of the hub, and the name of its blob in caches."""
    if len(content) < _LARGE:
        return _git_hash(content)
    return hashlib.sha256(content).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
