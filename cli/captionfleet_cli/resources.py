"""The commands get, describe and delete."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

import typer
import yaml

from captionfleet.client import Client, Document, Job, Worker, WorkerCopy
from captionfleet_cli.kinds import Kind, find_kind, rows, size, value_at
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.text import aligned
from captionfleet_cli.trouble import Exit, Trouble

_LOOK_EVERY = 1.0
KindArgument = Annotated[str, typer.Argument(help="models, pools, workers or jobs.")]
NameArgument = Annotated[str, typer.Argument(help="Its name.")]


class Form(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


def get(
    kind: KindArgument,
    name: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    output: Annotated[Form, typer.Option("-o", "--output", help="How to print.")] = Form.TABLE,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Then print every change.")] = False,
    server: ServerOption = None,
) -> None:
    """List models, pools, workers or jobs."""
    known = find_kind(kind)

    async def talk(client: Client) -> None:
        found = await fetch(client, known, name)
        _print(known, found, output, alone=name is not None)
        while watch:
            await asyncio.sleep(_LOOK_EVERY)
            fresh = await fetch(client, known, name)
            _print_changes(known, [each for each in fresh if each not in found], output)
            found = fresh

    try:
        ask(server, talk)
    except KeyboardInterrupt:  # the usual end of --watch
        raise typer.Exit(Exit.FINE) from None


def describe(kind: KindArgument, name: NameArgument, server: ServerOption = None) -> None:
    """Show everything about one model, pool, worker or job."""
    known = find_kind(kind)
    [found] = ask(server, lambda client: fetch(client, known, name))
    print(described(known, found))


def delete(kind: KindArgument, name: NameArgument, server: ServerOption = None) -> None:
    """Delete a model, a pool or a job."""
    known = find_kind(kind)
    if known.name == "workers":
        raise Trouble(
            "workers are not deleted by name: their pool decides how many there are. Change its "
            "autoscaling, or set spec.suspend.",
            Exit.USAGE,
        )

    async def talk(client: Client) -> None:
        if known.name == "jobs":
            await client.delete_job(name)
        else:
            await client.delete(_manifest_kind(known), name)

    ask(server, talk)
    print(f"{known.singular}/{name} deleted")


async def fetch(client: Client, kind: Kind, name: str | None) -> list[Document]:
    """The documents of a kind, or the one of that name. Raises Trouble if it is not there."""
    if kind.name == "jobs":
        if name:
            return [_job_document(await client.job(name))]
        return [_job_document(job) async for job in client.jobs()]
    if kind.name == "workers":
        found = [_worker_document(worker) for worker in await client.workers()]
        found = [each for each in found if name in (None, each["id"])]
        if name and not found:
            raise Trouble(f"there is no worker {name!r} now.", Exit.USAGE)
        return found
    if name:
        return [await client.manifest(_manifest_kind(kind), name)]
    return await client.manifests(_manifest_kind(kind))


def described(kind: Kind, document: Document) -> str:
    """All of it: the sentence that matters first, then the parts."""
    status = document.get("status") or {}
    head = [["Name:", str(value_at(document, kind.name_path))]]
    head += [
        [f"{word}:", str(status[key])]
        for word, key in (("Status", "phase"), ("Message", "message"), ("Source", "source"))
        if status.get(key)
    ]
    parts = [aligned(head)]
    if conditions := status.get("conditions"):
        table = [["TYPE", "STATUS", "REASON", "MESSAGE"]]
        table += [[str(c.get(k.lower(), "-")) for k in table[0]] for c in conditions]
        parts.append("Conditions:\n" + aligned(table, indent=2))
    shown = document if "metadata" not in document else {"spec": document.get("spec")}
    rest = {k: v for k, v in status.items() if k not in ("conditions", "phase", "message")}
    parts.append(_yaml(shown | ({"status": rest} if rest else {})))
    return "\n".join(parts)


def _print(kind: Kind, documents: list[Document], form: Form, *, alone: bool) -> None:
    whole: Any = documents[0] if alone else {"items": documents}
    if form is Form.JSON:
        print(json.dumps(whole, indent=2))
    elif form is Form.YAML:
        print(_yaml(whole), end="")
    elif form is Form.NAME:
        _print_names(kind, documents)
    elif not documents:
        print(f"no {kind.name}", file=sys.stderr)
    else:
        print(aligned(rows(kind, documents, datetime.now(UTC), wide=form is Form.WIDE)), flush=True)


def _print_changes(kind: Kind, documents: list[Document], form: Form) -> None:
    if not documents:
        return
    if form in (Form.JSON, Form.YAML):
        for each in documents:
            _print(kind, [each], form, alone=True)
    elif form is Form.NAME:
        _print_names(kind, documents)
    else:
        changed = rows(kind, documents, datetime.now(UTC), wide=form is Form.WIDE)[1:]
        print(aligned(changed), flush=True)


def _print_names(kind: Kind, documents: Sequence[Document]) -> None:
    for each in documents:
        print(f"{kind.singular}/{value_at(each, kind.name_path)}", flush=True)


def _manifest_kind(kind: Kind) -> Literal["models", "pools"]:
    return cast("Literal['models', 'pools']", kind.name)


def _job_document(job: Job) -> Document:
    models = list(dict.fromkeys(column.model for column in job.columns))
    return job.model_dump(mode="json") | {"open": job.counts.open, "models": models}


def _worker_document(worker: Worker) -> Document:
    ready = [copy.model for copy in worker.copies if copy.state == "ready"]
    return worker.model_dump(mode="json") | {
        "state": "draining" if worker.draining else "ready" if worker.fresh else "silent",
        "models": [f"{copy.model}({_state(copy)})" for copy in worker.copies],
        "asked": [f"{name}({each.state})" for name, each in sorted(worker.overrides.items())],
        "loaded": f"{len(ready)}/{len(worker.copies)}",
        "in_flight": sum(copy.in_flight for copy in worker.copies),
        "memory_used": f"{size(worker.memory.used)} of {size(worker.memory.total)}",
        "disk_used": size(worker.disk.cache_bytes) if worker.disk else None,
    }


def _state(copy: WorkerCopy) -> str:
    return f"{copy.state} {copy.download.percent}%" if copy.download else copy.state


def _yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
