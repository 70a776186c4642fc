"""The commands apply and add: manifests go to the server."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from captionfleet.client import ApiProblem, Client, Document
from captionfleet.resources import API_VERSION, InvalidManifest, parse_manifest
from captionfleet_cli.hub import NoSuchRepo, RepoFacts, look_up
from captionfleet_cli.kinds import size
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.trouble import Exit, Trouble

_DOORS = {"CaptionModel": "models", "CaptionWorkerPool": "pools"}
_SUFFIXES = (".yaml", ".yml", ".json")
_LONGEST_NAME = 40


def apply(
    files: Annotated[
        list[str],
        typer.Option("-f", "--filename", help="A file, a folder, or - for standard input."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the server judge; change nothing.")
    ] = False,
    server: ServerOption = None,
) -> None:
    """Create or change models and pools from manifests."""
    manifests = [each for file in files for each in read(file)]
    if not manifests:
        raise Trouble(
            f"no manifest in {', '.join(files)}: one starts with apiVersion: {API_VERSION}.",
            Exit.USAGE,
        )

    async def talk(client: Client) -> None:
        for manifest in manifests:
            done = await _apply_one(client, manifest, dry_run=dry_run)
            suffix = " (dry run)" if dry_run else ""
            print(f"{manifest['kind'].lower()}/{manifest['metadata']['name']} {done}{suffix}")

    ask(server, talk)


def add(
    repo: Annotated[str, typer.Argument(help="Repository on a Hugging Face hub: OWNER/NAME.")],
    revision: Annotated[str, typer.Option(help="Commit, tag or branch.")] = "main",
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: NAME.")] = None,
    prompt: Annotated[str, typer.Option(help="What the model is asked by default.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the manifest; change nothing.")
    ] = False,
    server: ServerOption = None,
) -> None:
    """Add a model of a Hugging Face hub: write its manifest and apply it."""
    manifest = hub_manifest(repo, revision, name, prompt)
    _judge(manifest, "add")
    if dry_run:
        print(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), end="")
        return
    try:
        known = look_up(repo, revision)
    except NoSuchRepo as error:
        raise Trouble(str(error), Exit.USAGE) from None
    ask(server, lambda client: _add(client, manifest))
    added = manifest["metadata"]["name"]
    print(f"captionmodel/{added} created")
    print(size_hint(known))
    print(f"See how it gets on: captionfleet get model {added} -o wide -w")


def hub_manifest(repo: str, revision: str, name: str | None, prompt: str) -> Document:
    """The manifest of a model on a hub. Without a name it is called like its repository."""
    source = {"repo": repo} | ({"revision": revision} if revision != "main" else {})
    spec: dict[str, Any] = {"source": {"huggingFace": source}}
    if prompt:
        spec["generation"] = {"prompt": prompt}
    own = re.sub(r"[^a-z0-9]+", "-", repo.rsplit("/", 1)[-1].lower())
    return {
        "apiVersion": API_VERSION,
        "kind": "CaptionModel",
        "metadata": {"name": name or own.strip("-")[:_LONGEST_NAME].strip("-")},
        "spec": spec,
    }


def size_hint(known: RepoFacts | None) -> str:
    if known is None:
        return (
            "Its size is not known: the hub cannot be reached from here. A worker fetches it now, "
            "or says why it cannot."
        )
    terms = f", license {known.license}" if known.license else ""
    pickle = "" if known.safetensors else (
        " It has no safetensors, only .bin files, which can run code while loading: if you trust "
        "its author set spec.loader.allowPickle: true."
    )  # fmt: skip
    return f"A worker fetches about {size(known.size_bytes)}{terms}, unless it has it.{pickle}"


def read(file: str) -> Iterator[Document]:
    """The manifests of a file, a folder and those in it, or standard input. Raises Trouble."""
    if file == "-":
        yield from _documents(sys.stdin.read(), "standard input", Path())
        return
    path = Path(file)
    if not path.exists():
        raise Trouble(f"there is no file {file}.", Exit.USAGE)
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_manifest(p))
    for each in found:
        yield from _documents(each.read_text(encoding="utf-8"), str(each), each.parent)


def _is_manifest(file: Path) -> bool:
    return (
        file.suffix in _SUFFIXES
        and not any(part.startswith(".") for part in file.parts)
        and "captionfleet.io/" in file.read_text(encoding="utf-8", errors="replace")[:65536]
    )


def _documents(text: str, where: str, folder: Path) -> Iterator[Document]:
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise Trouble(f"{where}: not readable as YAML: {error}", Exit.USAGE) from None
    for document in documents:
        _judge(document, where)
        yield _anchored(document, folder)


def _judge(document: Any, where: str) -> None:
    try:
        parse_manifest(document)
    except InvalidManifest as error:
        told = "\n".join(f"{where}: {problem}" for problem in error.problems)
        raise Trouble(told, Exit.USAGE) from None


def _anchored(document: Document, folder: Path) -> Document:
    """A relative volume path starts at the manifest's folder, which the server cannot know."""
    volume = (document["spec"].get("source") or {}).get("volume")
    if not volume or Path(volume["path"]).is_absolute():
        return document
    path = str((folder / volume["path"]).resolve())
    spec = document["spec"] | {"source": {"volume": volume | {"path": path}}}
    return document | {"spec": spec}


async def _apply_one(client: Client, manifest: Document, *, dry_run: bool) -> str:
    door: Any = _DOORS[manifest["kind"]]
    try:
        there = await client.manifest(door, manifest["metadata"]["name"])
    except ApiProblem as problem:
        if problem.status != 404:
            raise
        await client.apply(door, manifest, dry_run=dry_run)
        return "created"
    wanted = parse_manifest(manifest)
    if parse_manifest(there).spec == wanted.spec:
        return "unchanged"
    await client.apply(door, manifest, dry_run=dry_run)
    return "configured"


async def _add(client: Client, manifest: Document) -> None:
    try:
        await client.create("models", manifest)
    except ApiProblem as problem:
        if problem.status != 409:
            raise
        raise Trouble(
            f"{problem}. Choose another name with --name, or delete that one first.", Exit.USAGE
        ) from None
