"""`python -m captionfleet_operator.cluster.uninstall`: takes an installation's doings back.

Stops the operator, deletes what it made for the pools, then the fleet's queues and exchanges if
the broker answers. Models, pools and claims stay: they are people's. Safe to run again.
"""

import asyncio
import contextlib
import sys
import time

import aio_pika
import structlog
from aio_pika.exceptions import ChannelNotFoundEntity
from pydantic import Field

from captionfleet.broker.link import CONNECTION_TROUBLE, Link, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import delete_model_queues
from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet.logs import configure_logging
from captionfleet.settings import FleetSettings
from captionfleet_operator.cluster.kinds import (
    CHILDREN,
    CLAIM,
    DEPLOYMENT,
    LEASE,
    MODEL,
    POD,
    SERVICE_MONITOR,
    Kind,
)
from captionfleet_operator.cluster.naming import MANAGER, POOL_LABEL
from captionfleet_operator.queue_record import read_record

log = structlog.get_logger()

_OURS = f"{POOL_LABEL},app.kubernetes.io/managed-by={MANAGER}"
_BROKER_SECONDS = 10.0
_OPERATOR_SECONDS = 40.0
_WORKERS_SECONDS = 30.0


class UninstallSettings(FleetSettings):
    operator_deployment: str = Field(
        "", description="Deployment of the operator, which the uninstall hook stops first."
    )
    operator_labels: str = Field(
        "app.kubernetes.io/name=captionfleet,app.kubernetes.io/component=operator",
        description="Labels of the operator's pods, for whose end the uninstall hook waits.",
    )
    server_queue: str | None = Field(
        None, validation_alias="SERVER_QUEUE", description="Results queue of the api."
    )


def main() -> int:
    settings = UninstallSettings()
    configure_logging("uninstall", settings.log_level, settings.log_format)
    if not settings.namespace:
        print("captionfleet uninstall: set CAPTIONFLEET_NAMESPACE", file=sys.stderr)
        return 2
    return 0 if asyncio.run(_uninstall(settings, settings.namespace)) else 1


async def _uninstall(settings: UninstallSettings, namespace: str) -> bool:
    """Each step by itself: whatever fails is told, and the rest is done.

    False if workers may be left; queues that stay on a broker do no harm.
    """
    api = await KubernetesAPI.connect()
    try:
        models = await _models(api, namespace)
        stopped = await _stop_operator(api, namespace, settings)
        deleted = await _delete_children(api, namespace)
        await _clear_broker(settings, models)
        return stopped and deleted
    finally:
        await api.close()


async def _models(api: KubernetesAPI, namespace: str) -> list[str]:
    try:
        listed = await api.list(path_of(MODEL.api_version, MODEL.plural, namespace))
    except KubernetesError as error:
        log.warning("models not listed", why=str(error))
        return []
    return [item["metadata"]["name"] for item in listed["items"]]


async def _stop_operator(api: KubernetesAPI, namespace: str, settings: UninstallSettings) -> bool:
    """It would make again what is deleted. One that is gone already is stopped."""
    if not settings.operator_deployment:
        return True
    name = settings.operator_deployment
    path = path_of(DEPLOYMENT.api_version, DEPLOYMENT.plural, namespace, name, "scale")
    try:
        await api.patch(path, {"spec": {"replicas": 0}}, manager=MANAGER)
    except KubernetesError as error:
        if error.status != 404:
            log.warning("operator not stopped", why=str(error))
            return False
    stopped = await _gone(api, namespace, settings.operator_labels, _OPERATOR_SECONDS)
    log.info("operator stopped" if stopped else "operator still runs")
    return stopped & await _delete(api, namespace, LEASE, MANAGER)


async def _delete_children(api: KubernetesAPI, namespace: str) -> bool:
    done = True
    for kind in CHILDREN:
        if kind == CLAIM:
            continue  # it holds files that took long to fetch; it goes with its pool
        try:
            listed = await api.list(
                path_of(kind.api_version, kind.plural, namespace), labelSelector=_OURS
            )
        except KubernetesError as error:
            if kind != SERVICE_MONITOR or error.status != 404:
                log.warning("objects not listed", kind=kind.kind, why=str(error))
                done = False
            continue
        for item in listed["items"]:
            done &= await _delete(api, namespace, kind, item["metadata"]["name"])
    # Workers drain while the broker still is there to take their last results.
    await _gone(api, namespace, POOL_LABEL, _WORKERS_SECONDS)
    return done


async def _delete(api: KubernetesAPI, namespace: str, kind: Kind, name: str) -> bool:
    try:
        await api.delete(path_of(kind.api_version, kind.plural, namespace, name))
    except KubernetesError as error:
        log.warning("not deleted", kind=kind.kind, name=name, why=str(error))
        return False
    log.info("deleted", kind=kind.kind, name=name)
    return True


async def _gone(api: KubernetesAPI, namespace: str, selector: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    path = path_of(POD.api_version, POD.plural, namespace)
    while time.monotonic() < deadline:
        with contextlib.suppress(KubernetesError):
            if not (await api.list(path, labelSelector=selector))["items"]:
                return True
        await asyncio.sleep(0.5)
    log.warning("pods are still there", selector=selector, seconds=seconds)
    return False


async def _clear_broker(settings: UninstallSettings, models: list[str]) -> None:
    names = Names(settings.fleet)

    async def nothing(_: Session) -> None:
        return None

    link = Link(settings.rabbitmq_url.get_secret_value(), "uninstall", nothing)
    running = asyncio.create_task(link.run())
    try:
        session = await asyncio.wait_for(link.connected(), _BROKER_SECONDS)
        await _delete_queues(session, names, models, settings.server_queue)
        log.info("queues deleted", fleet=settings.fleet)
    except (ValueError, TimeoutError, *CONNECTION_TROUBLE) as error:
        why = link.trouble or str(error)
        log.warning("the broker did not answer: queues that it still has stay there", why=why)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _delete_queues(
    session: Session, names: Names, models: list[str], server_queue: str | None
) -> None:
    for model in sorted({*models, *await read_record(session, names)}):
        await delete_model_queues(session, names, model)
    for queue in filter(None, (server_queue, names.queue_record)):
        async with session.channel() as channel:
            with contextlib.suppress(ChannelNotFoundEntity):
                await channel.queue_delete(queue)
    for exchange in (
        names.tasks, names.results, names.assignments, names.heartbeats, names.demand,
        names.cancellations,
    ):  # fmt: skip
        async with session.channel() as channel:
            with contextlib.suppress(ChannelNotFoundEntity, aio_pika.exceptions.ChannelClosed):
                await channel.exchange_delete(exchange)


if __name__ == "__main__":
    sys.exit(main())
