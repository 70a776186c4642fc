"""CaptionModel.spec: one captioner, where its weights or code come from and how it is run."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from captionfleet.resources.base import (
    LabelSelector,
    Quantity,
    Resource,
    keys,
    quantity_bytes,
    rule,
    rules,
)

ShortText = Annotated[str, StringConstraints(max_length=253)]
Text = Annotated[str, StringConstraints(max_length=4096)]
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
Patterns = Annotated[list[ShortText], Field(max_length=32)]


class HuggingFaceSource(Resource):
    model_config = rules(
        rule(
            "!self.revision.matches('^/|(^|/)[.][.](/|$)')",
            "source.huggingFace.revision names a commit, tag or branch: remove the .. or the"
            " leading slash",
        ),
    )
    repo: Annotated[
        str,
        StringConstraints(
            pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", min_length=3, max_length=193
        ),
    ]
    """Repository on the hub, as owner/name."""
    revision: ShortText = "main"
    """Commit, tag or branch. A 40-digit commit never changes under you."""
    endpoint: ShortText | None = None
    """Address of the hub, for a mirror. Default: the worker's HF_ENDPOINT, else the public hub."""
    allow_patterns: Patterns = []
    """Fetch only files that match one of these globs. Empty: what loading needs."""
    ignore_patterns: Patterns = []
    """Never fetch files that match one of these globs."""


class VolumeSource(Resource):
    model_config = rules(
        rule(
            "!has(self.claimName) || !self.path.matches('(^|/)[.][.](/|$)')",
            "source.volume.path must stay inside the claim: remove the .. from it",
        ),
    )
    claim_name: ShortText | None = None
    """Persistent volume claim that holds the folder, on Kubernetes; a pool must mount it."""
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """Folder with the model's files: inside the claim, or where the manifest lies if relative."""


class Source(Resource):
    model_config = rules(
        rule(
            "!(has(self.huggingFace) && has(self.volume))",
            "source takes at most one of huggingFace and volume: remove one of them",
        ),
        rule(
            "has(self.huggingFace) || has(self.volume)",
            "source is empty: name source.huggingFace.repo or source.volume.path",
        ),
    )
    hugging_face: HuggingFaceSource | None = None
    """Weights from a Hugging Face hub."""
    volume: VolumeSource | None = None
    """Weights from a folder the worker can read."""


class CustomFile(Resource):
    path: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Where the file goes in the engine's own folder, for example my_model.py."""
    content: Annotated[str, StringConstraints(max_length=100_000)]
    """The text of the file."""


class ConfigMapReference(Resource):
    name: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
    ]
    """Name of an immutable ConfigMap in the model's namespace; each of its keys is a file."""


def code_file(entrypoint: str) -> str:
    """models/mine.py of models.mine:Mine."""
    return f"{entrypoint.partition(':')[0].replace('.', '/')}.py"


class Custom(Resource):
    model_config = rules(
        rule(
            "!has(self.configMapRef) || size(self.files) == 0",
            "custom takes at most one of files and configMapRef: remove one of them",
        ),
        rule(
            "self.files.all(f, !f.path.startsWith('/'))",
            "custom.files paths are relative: remove the leading slash",
        ),
        rule(
            "self.files.all(f, !f.path.matches('(^|/)[.][.]?(/|$)'))",
            "custom.files paths must not contain . or .. as a part",
        ),
        rule(
            "self.files.all(f, self.files.exists_one(g, g.path == f.path))",
            "custom.files names a path twice: every path must be unique",
        ),
    )
    entrypoint: Annotated[
        str,
        StringConstraints(
            pattern=rf"^{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}$", max_length=253
        ),
    ]
    """`module:Class` of a CustomModel, in `files` or in the worker's custom_infer folder."""
    kwargs: Annotated[dict[str, ShortText], Field(max_length=32, json_schema_extra=keys(253))] = {}
    """Arguments for the class, as text."""
    files: Annotated[list[CustomFile], Field(max_length=10)] = []
    """Code that comes with the manifest; it wins over files of the same name in custom_infer."""
    config_map_ref: ConfigMapReference | None = None
    """The same from a ConfigMap, on Kubernetes: what an upload makes."""

    @property
    def file(self) -> str:
        """Where the class stands, as its author writes it: models/mine.py."""
        return code_file(self.entrypoint)

    @property
    def is_brought(self) -> bool:
        """The code comes with the manifest, and not from a folder of the worker."""
        return bool(self.files or self.config_map_ref)


class DType(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Quantization(StrEnum):
    NONE = "none"
    INT8 = "int8"


class Attention(StrEnum):
    AUTO = "auto"
    EAGER = "eager"
    SDPA = "sdpa"
    FLASH_ATTENTION_2 = "flash_attention_2"


Arguments = Annotated[dict[str, ShortText], Field(max_length=32, json_schema_extra=keys(253))]
"""Arguments by name, as text. What reads as JSON (`12`, `true`, `[1, 2]`) is taken as that."""


class Loader(Resource):
    dtype: DType = DType.AUTO
    """Number format of the weights. auto: float32 on a CPU; on a GPU bfloat16, else float16."""
    quantization: Quantization = Quantization.NONE
    """int8 computes linear layers in 8 bits: less memory, and faster. CPU only."""
    attention: Attention = Attention.AUTO
    """How attention is computed. auto: sdpa where the model has it, else eager."""
    processor: Arguments = {}
    """Settings of the image processor, as text, for example max_pixels: "501760"."""
    chat_template: Arguments = {}
    """Variables of the chat template, as text, for example enable_thinking: "false"."""
    allow_pickle: bool = False
    """Also load .bin checkpoints. They can run code while loading: only from authors you trust."""
    trust_remote_code: bool = False
    """Run the Python code that the repository brings. Needs a revision of 40 hex digits."""


class PipelineTag(StrEnum):
    IMAGE_TO_TEXT = "image-to-text"
    IMAGE_TEXT_TO_TEXT = "image-text-to-text"


_NOT_EXTRA = (
    "self.all(k, !(k in ['prompt', 'system_prompt', 'max_new_tokens', 'min_new_tokens',"
    " 'num_beams', 'do_sample', 'temperature', 'top_p', 'top_k', 'repetition_penalty',"
    " 'no_repeat_ngram_size', 'length_penalty', 'seed']))"
)
_OWN_FIELD = (
    "generation.extra names what has a field of its own: set that one, such as maxNewTokens"
)


class Generation(Resource):
    prompt: Text = ""
    """What the model is asked. Empty: the model's own way (none, or a plain request)."""
    system_prompt: Text = ""
    """System message, for chat models only."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Longest caption, in tokens; beyond it is cut, finish=length. Default: the family's."""
    min_new_tokens: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Shortest caption, in tokens."""
    num_beams: Annotated[int, Field(ge=1, le=16)] | None = None
    """Beams of beam search. 1 is greedy, and fastest. Default: the family's, mostly 1."""
    do_sample: bool = False
    """Sample instead of taking the likeliest token."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Randomness of sampling; needs doSample."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample among the likeliest tokens that add up to this probability."""
    top_k: Annotated[int, Field(ge=0, le=100000)] | None = None
    """Sample among this many likeliest tokens."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    """Above 1 discourages repeating tokens."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=100)] | None = None
    """Never repeat a run of this many tokens."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Beam search only: above 0 favors longer captions."""
    seed: Annotated[int, Field(ge=0, le=4294967295)] | None = None
    """Seed of sampling. A seeded picture runs in a batch of its own, to be repeatable."""
    extra: Annotated[
        dict[str, ShortText],
        Field(max_length=32, json_schema_extra=keys(253, rule(_NOT_EXTRA, _OWN_FIELD))),
    ] = {}
    """Further arguments of generate(), as text, for example renormalize_logits: "true"."""


class PromptPreset(Resource):
    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Short name, shown as a column head."""
    text: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """The prompt itself."""


class Batching(Resource):
    max_batch_size: Annotated[int, Field(ge=1, le=512)] = 8
    """Most pictures captioned in one go."""


class Device(StrEnum):
    ANY = "Any"
    CPU = "CPU"
    GPU = "GPU"


class Requirements(Resource):
    device: Device = Device.ANY
    """Kind of worker this model may run on."""
    memory: Quantity | None = None
    """Main memory one copy needs. Default: estimated from the weights, then measured."""
    gpu_memory: Quantity | None = None
    """GPU memory one copy needs. Default: estimated from the weights, then measured."""

    def bytes_on(self, device: str) -> int | None:
        """The stated need in bytes on a worker of this device type, if one is stated."""
        stated = self.gpu_memory if device == "GPU" else self.memory
        return quantity_bytes(stated) if stated else None


class ResidencyPolicy(StrEnum):
    ON_DEMAND = "OnDemand"
    PINNED = "Pinned"


class Residency(Resource):
    model_config = rules(
        rule("self.minCopies <= self.maxCopies", "minCopies must not be above maxCopies"),
        rule(
            "self.policy != 'Pinned' || self.minCopies >= 1",
            "policy Pinned keeps copies loaded: set minCopies to 1 or more",
        ),
        rule(
            "self.idleUnloadSeconds >= self.minResidencySeconds",
            "idleUnloadSeconds must not be below minResidencySeconds",
        ),
    )
    policy: ResidencyPolicy = ResidencyPolicy.ON_DEMAND
    """OnDemand loads when pictures wait and unloads when idle; Pinned keeps minCopies loaded."""
    min_copies: Annotated[int, Field(ge=0, le=1000)] = 0
    """Copies kept loaded even when idle."""
    max_copies: Annotated[int, Field(ge=1, le=1000)] = 4
    """Most copies loaded at once."""
    idle_unload_seconds: Annotated[int, Field(ge=1, le=604800)] = 600
    """Seconds without work after which a copy above minCopies is unloaded."""
    min_residency_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """Seconds a loaded copy is safe from eviction."""
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    """Who stays when memory is short: higher wins."""


class Inference(Resource):
    timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 120
    """Longest time for one batch. Beyond it the engine is killed and each picture tried alone."""


class RolloutStrategy(StrEnum):
    LOAD_THEN_SWITCH = "LoadThenSwitch"
    RECREATE = "Recreate"


class ModelRollout(Resource):
    strategy: RolloutStrategy = RolloutStrategy.LOAD_THEN_SWITCH
    """LoadThenSwitch loads the new copy while the old one goes on, and needs memory for both where
    it happens; without it, and with Recreate, the old copy is unloaded first."""
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=604800)] = 1800
    """Seconds after which a changed spec that does not serve yet is reported as stuck."""


class Prove(StrEnum):
    ON_APPLY = "OnApply"
    ON_FIRST_USE = "OnFirstUse"


class Acceptance(Resource):
    prove: Prove = Prove.ON_APPLY
    """OnApply loads and tests each new spec once at once; OnFirstUse waits for pictures."""
    smoke_test: bool = True
    """Caption a built-in picture after loading, before any of yours."""
    timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """Longest time for loading and the smoke test together."""


class ModelSpec(Resource):
    model_config = rules(
        rule(
            "has(self.source) || has(self.custom)",
            "spec needs source (weights), custom (code) or both",
        ),
        rule(
            "!self.loader.trustRemoteCode || (has(self.source) && has(self.source.huggingFace)"
            " && self.source.huggingFace.revision.matches('^[0-9a-f]{40}$'))",
            "loader.trustRemoteCode runs the repository's code: name a huggingFace source whose"
            " revision is a commit of 40 hex digits",
        ),
        rule(
            "!has(self.pipelineTag) || !has(self.custom)",
            "pipelineTag says how transformers asks, and custom code asks by itself: remove one of"
            " them",
        ),
    )
    display_name: ShortText | None = None
    """Name shown to people. Default: the resource's name."""
    source: Source | None = None
    """Where the weights come from."""
    custom: Custom | None = None
    """Your own Python class that does the captioning."""
    pipeline_tag: PipelineTag | None = None
    """image-to-text asks without a chat: the caption goes on from the prompt, if there is one.
    image-text-to-text asks by the chat template, else with a prompt. Default: told from the config.
    """
    loader: Loader = Loader()
    """How weights are loaded."""
    generation: Generation = Generation()
    """Defaults of text generation; a job may override them."""
    prompts: Annotated[list[PromptPreset], Field(max_length=32)] = []
    """Prompts offered by name when a job is made."""
    batching: Batching = Batching()
    """How many pictures run at once."""
    requirements: Requirements = Requirements()
    """What a worker must have."""
    pool_selector: LabelSelector = LabelSelector()
    """Labels of the pools that may run this model."""
    residency: Residency = Residency()
    """When copies are loaded and unloaded."""
    inference: Inference = Inference()
    """Limits of one captioning run."""
    rollout: ModelRollout = ModelRollout()
    """How a change of the spec reaches the copies there are."""
    acceptance: Acceptance = Acceptance()
    """What a fresh copy must show before it gets pictures."""
    suspend: bool = False
    """True unloads the model and lets its tasks wait."""

    def weight_width(self, device: str) -> int | None:
        """Bytes of one number of the weights when they load on a worker of this device type; None
        for a person's own code, which loads them in its own way. int8 is rounded afterwards."""
        if self.custom:
            return None
        whole = self.loader.dtype is DType.FLOAT32
        return 4 if whole or (self.loader.dtype is DType.AUTO and device == "CPU") else 2

    def fingerprint(self) -> str:
        """Digest of what a copy is made of: a copy with another fingerprint must be replaced.

        What has its default is left out, so that a release that adds a field changes no digest.
        """
        made_of: dict[str, Any] = self.model_dump(
            mode="json",
            include={"source", "custom", "pipeline_tag", "loader", "generation", "batching",
                     "inference", "acceptance"},
            exclude={"acceptance": {"prove"}}, exclude_defaults=True,
        )  # fmt: skip
        said = {name: each for name, each in made_of.items() if each != {}}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
