"""From an order to a model that captions: find the files, load, test, name the revision."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic.alias_generators import to_camel

from captionfleet.faults import fault_point
from captionfleet.resources.model import Generation, Loader, ModelSpec, Requirements
from captionfleet_worker.engine.answering import Answering, Captioner, is_out_of_memory
from captionfleet_worker.engine.custom_code import code_digest, load_custom
from captionfleet_worker.engine.generation import Habits, check_extra, settled
from captionfleet_worker.engine.last_words import listen
from captionfleet_worker.engine.memory_limit import MemoryLimit
from captionfleet_worker.engine.own_files import code_folders, write_files
from captionfleet_worker.engine.protocol import EngineOrder, LoadFailed
from captionfleet_worker.engine.remote_code import check_pinned
from captionfleet_worker.engine.smoke import smoke_test
from captionfleet_worker.engine.weights import folder_digest
from captionfleet_worker.process_tree import adopt_orphans

Progress = Callable[[str], None]
_HABITS = Habits()
_MOST_DECODERS = 8
"""More decode faster than any model of today captions."""
_OTHER_THREADS = 4
"""Of an engine: that which talks to the worker, and what libraries keep for themselves."""


@dataclass(frozen=True)
class Ready:
    """A model that captions."""

    captioner: Captioner
    answering: Answering
    revision: str
    limit: MemoryLimit | None
    """None on a GPU."""


@dataclass(frozen=True)
class _Files:
    """Where the files are, and what identifies them: a commit, or a digest being computed."""

    folder: Path | None
    identity: Future[str] | str


def load(order: EngineOrder, room: Path, progress: Progress) -> Ready:
    """`room` is a folder for this engine alone. Raises LoadFailed for all that can go wrong."""
    listen(room)
    adopt_orphans()
    try:
        return _load(order, code_folders(order, room), progress)
    except LoadFailed:
        raise
    except Exception as error:
        raise failure_of(error) from error


def _load(order: EngineOrder, code: list[Path], progress: Progress) -> Ready:
    spec = order.spec
    _check_fields(spec)
    if spec.custom and spec.custom.files:
        write_files(spec.custom.files, code[0])
    # One thread hashes while the other loads; both read the same pages.
    with ThreadPoolExecutor(1) as hashing:
        files = _find(order, hashing)
        captioner, limit = _captioner(order, code, files.folder, progress)
        _check_prompts(spec, captioner)
        fault_point("engine: in mid-load")
        most = spec.batching.max_batch_size
        answering = Answering(
            captioner, spec.generation, most, _decoders(order),
            limit.set if limit else None,
        )  # fmt: skip
        if spec.acceptance.smoke_test:
            progress("captioning a test picture")
            smoke_test(answering, spec.pipeline_tag)
        if limit:
            limit.set()
        identity = files.identity if isinstance(files.identity, str) else files.identity.result()
    digest = code_digest(code) if spec.custom else ""
    revision = revision_of(spec, identity, digest, captioner.habits)
    return Ready(captioner, answering, revision, limit)


def _check_fields(spec: ModelSpec) -> None:
    check_pinned(spec)
    if spec.custom and spec.pipeline_tag:
        raise LoadFailed(
            "InvalidSpec",
            "spec.pipelineTag says how transformers asks a model, and spec.custom asks in its own "
            "way: remove one of them",
        )
    if spec.custom:
        _check_own_loading(spec.loader)


def _check_own_loading(loader: Loader) -> None:
    """Raises LoadFailed for what transformers alone would heed."""
    stated = loader.model_dump(exclude_defaults=True, exclude={"allow_pickle", "trust_remote_code"})
    if stated:
        raise LoadFailed(
            "InvalidSpec",
            f"spec.loader.{to_camel(min(stated))} says how transformers loads a model, and "
            "spec.custom loads in its own way: remove it, and give the class what it needs in "
            "spec.custom.kwargs",
        )


def _check_system_prompt(generation: Generation, chat: bool) -> None:
    if generation.system_prompt and not chat:
        raise LoadFailed(
            "InvalidSpec",
            "spec.generation.systemPrompt is for models that are asked by chat, and this one is "
            "not: remove it, or put it into spec.generation.prompt",
        )


def _check_prompts(spec: ModelSpec, captioner: Captioner) -> None:
    """Raises LoadFailed for a text of the manifest that this model cannot be asked."""
    presets = {f"spec.prompts[{at}].text": each.text for at, each in enumerate(spec.prompts)}
    texts = {
        "spec.generation.prompt": spec.generation.prompt,
        "spec.generation.systemPrompt": spec.generation.system_prompt,
        **presets,
    }
    for field, text in texts.items():
        if problem := captioner.prompt_problem(text.strip()):
            # Presets are no part of a fingerprint, so only another try finds them mended.
            raise LoadFailed("InvalidSpec", f"{field}: {problem}", retriable=field in presets)


def _find(order: EngineOrder, hashing: ThreadPoolExecutor) -> _Files:
    source, pickle = order.spec.source, order.spec.loader.allow_pickle
    own_code = order.spec.custom is not None
    if source is None:
        return _Files(None, "")
    if source.hugging_face:
        return _Files(_fetched(order), f"{source.hugging_face.repo}@{order.commit}")
    assert source.volume, "a source is a volume or a repository"
    folder = Path(source.volume.path)
    if not folder.is_dir():
        raise LoadFailed(
            "SourceNotFound",
            f"there is no folder {folder}: correct spec.source.volume.path, or put the model there",
        )
    return _Files(folder, hashing.submit(folder_digest, folder, pickle, own_code))


def _fetched(order: EngineOrder) -> Path:
    assert order.files, "who starts an engine has its files fetched before"
    if not order.files.is_dir():
        raise LoadFailed(
            "MissingWeights", f"{order.files} is gone: it is fetched again", retriable=True
        )
    return order.files


def _captioner(
    order: EngineOrder, code: list[Path], folder: Path | None, progress: Progress
) -> tuple[Captioner, MemoryLimit | None]:
    if order.spec.custom:
        progress(f"loading {order.spec.custom.entrypoint}")
        limit = _limit(order, order.spec.requirements)
        if limit:
            limit.set()
        return load_custom(order.spec.custom, code, order.device, folder, limit), limit
    assert folder, "the manifest's rules ask for source or custom"
    progress("loading the model")

    from captionfleet_worker.engine.checkpoint import generate_knows, load_checkpoint

    check_extra(order.spec.generation.extra, generate_knows())
    tag = order.spec.pipeline_tag
    checkpoint = load_checkpoint(folder, order.spec.loader, order.device, tag)
    _check_system_prompt(order.spec.generation, checkpoint.chat is not None)
    # Imports torch, so it comes after the checks that need none.
    from captionfleet_worker.engine.transformers_captioner import TransformersCaptioner

    # Set once it has captioned its test picture, if it has one: mapped files count in full while
    # they load.
    return TransformersCaptioner(checkpoint), _limit(order, Requirements())


def _limit(order: EngineOrder, requirements: Requirements) -> MemoryLimit | None:
    if order.device != "cpu":
        return None
    return MemoryLimit(requirements, order.threads + _decoders(order) + _OTHER_THREADS)


def _decoders(order: EngineOrder) -> int:
    return min(order.threads, _MOST_DECODERS)


def failure_of(error: Exception) -> LoadFailed:
    """What an unforeseen exception means for a person."""
    first_line = next(iter(str(error).strip().splitlines()), "")
    if is_out_of_memory(error):
        return LoadFailed(
            "OutOfMemory",
            f"not enough memory to load the model: {first_line}; state its need in "
            "spec.requirements, or give the worker more",
            retriable=True,
        )
    if isinstance(error, ImportError):
        return LoadFailed(
            "MissingPackage",
            f"the model needs a Python package that this worker lacks: {first_line}; run the pool "
            "on an image that has it (spec.image of the CaptionWorkerPool)",
        )
    return LoadFailed(
        "LoadFailed", f"{type(error).__name__}: {first_line}; the engine's log has more", True
    )


def revision_of(spec: ModelSpec, identity: str, code: str, habits: Habits = _HABITS) -> str:
    """Digest of everything a caption depends on but the picture, the prompt and the options."""
    made_of = {
        "files": identity,
        "code": code,
        "custom": spec.custom.as_manifest() if spec.custom else None,
        "pipelineTag": spec.pipeline_tag,
        "loader": spec.loader.as_manifest(),
        "generation": settled(spec.generation, habits).as_manifest(),
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:40]
