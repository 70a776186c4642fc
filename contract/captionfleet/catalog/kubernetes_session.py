"""One HTTP session with an API server: credentials on every request, errors in its own words.

Built on the official client's session. Knows nothing of resources, repeats or pages.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from captionfleet.catalog.kubernetes_access import NoAccess, load_access
from captionfleet.catalog.kubernetes_errors import UNREACHABLE, KubernetesError, error_of

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from kubernetes.aio.client import ApiClient

_CONNECT_SECONDS = 5.0


class KubernetesSession:
    def __init__(self, client: "ApiClient") -> None:
        self._client = client

    @classmethod
    async def open(cls, connections: int) -> "KubernetesSession":
        """Find address and credentials; nothing is sent yet. Raises KubernetesError."""
        from kubernetes.aio.client import ApiClient, Configuration

        configuration = Configuration(connection_pool_maxsize=connections)
        try:
            await load_access(configuration)
        except NoAccess as error:
            raise KubernetesError(UNREACHABLE, "NoAccess", str(error), sent=False) from error
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        await self._client.close()

    async def renew(self) -> None:
        """Read the credentials anew: they may have been exchanged."""
        await load_access(self._client.configuration)

    @asynccontextmanager
    async def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content_type: str = "application/json",
        *,
        seconds: float | None,
        silence: float | None = None,
    ) -> AsyncIterator["ClientResponse"]:
        """The open answer to one request; `seconds` in all, `silence` between two pieces of it.

        Whatever breaks inside the block becomes a KubernetesError.
        """
        import aiohttp

        address = f"{self._client.configuration.host}{path}"
        if query:
            address += f"?{urlencode(query, quote_via=quote)}"
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        limit = aiohttp.ClientTimeout(seconds, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        try:
            await self._client.update_params_for_auth(
                headers, [], ["BearerToken"], path, method, body
            )
            response = await self._client.rest_client.request(
                method, address, headers=headers, body=body, _request_timeout=limit
            )
            async with response.response as answer:
                if answer.status >= 300:
                    wait = answer.headers.get("Retry-After")
                    raise error_of(answer.status, await answer.read(), wait)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            unsent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
            raise self._unreachable(error, sent=not isinstance(error, unsent)) from error

    def _unreachable(self, error: Exception, *, sent: bool) -> KubernetesError:
        told = " ".join(str(error).split()) or type(error).__name__
        host = self._client.configuration.host
        message = f"the Kubernetes API at {host} does not answer: {told}"
        return KubernetesError(UNREACHABLE, "Unreachable", message, sent=sent)
