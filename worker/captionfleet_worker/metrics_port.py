"""The worker's only port: metrics for Prometheus, and probes for whoever keeps it running.

On the loop of the agent, so that an idle worker has no further thread that wakes up, and that a
stuck loop answers nothing.
"""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from captionfleet_worker.probes import Health, probe

_LONGEST_REQUEST = 8192
_TEXT = "text/plain; charset=utf-8"


async def serve_port(
    registry: CollectorRegistry, health: Callable[[], Health], host: str, port: int
) -> asyncio.Server:
    """Answer GET /metrics, /startupz, /livez and /readyz until closed. Raises OSError if the
    port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, registry, health))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # a client that is slow, gone, or speaks no HTTP
        finally:
            writer.close()

    return await asyncio.start_server(answer, host, port, limit=_LONGEST_REQUEST)


def _response(head: bytes, registry: CollectorRegistry, health: Callable[[], Health]) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode(errors="replace")
    status, content_type, body = _page(
        path if method in (b"GET", b"HEAD") else "", registry, health
    )
    response = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return response + (b"" if method == b"HEAD" else body)


def _page(
    path: str, registry: CollectorRegistry, health: Callable[[], Health]
) -> tuple[str, str, bytes]:
    """(status, content type, body)."""
    if path == "/metrics":
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
    if verdict := probe(path, health()):
        status = "200 OK" if verdict.good else "503 Service Unavailable"
        return status, _TEXT, f"{verdict.sentence}\n".encode()
    return "404 Not Found", _TEXT, b"GET /metrics, /startupz, /livez and /readyz are here.\n"
