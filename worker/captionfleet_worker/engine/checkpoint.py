"""Loads a transformers checkpoint from a folder: model, tokenizer and processor, ready to ask.

Never runs code of the checkpoint (trust_remote_code is False everywhere) and never asks a hub.
"""

import logging
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from captionfleet.resources.model import DType, Loader
from captionfleet_worker.engine.chat import Chat
from captionfleet_worker.engine.families import (
    Family,
    PromptRules,
    Recipe,
    recipe_for,
    steering_tokens,
)
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine.weights import check_complete

log = logging.getLogger(__name__)

_MOST_MISSING = 0.05
"""Share of parameters that may be absent from the files: in real ones, unused poolers are."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with everything needed to ask it."""

    recipe: Recipe
    rules: PromptRules
    model: Any
    tokenizer: Any
    image_processor: Any
    processor: Any
    """Pictures and text together; None for a vision-encoder-decoder."""
    chat: Chat | None
    accepted: frozenset[str]
    """Inputs that its generate() takes."""
    ends: frozenset[int]
    """Token ids that end a caption."""
    starts: frozenset[int]
    """Token ids that a row of output may begin with before the model writes."""


def load_checkpoint(folder: Path, loader: Loader, device: str) -> Checkpoint:
    """Raises LoadFailed for what a person can mend, else what transformers raises."""
    config = check_complete(folder, loader.allow_pickle)
    _check_known(config)

    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    processor, tokenizer, image_processor = _load_processor(folder, str(config["model_type"]))
    template = getattr(processor, "chat_template", None)
    recipe = recipe_for(str(config["model_type"]), template is not None)
    chat = Chat(processor) if recipe.family is Family.CHAT else None
    model = _load_model(folder, loader, device)
    _settle(model, tokenizer)
    rules = PromptRules(
        recipe.family,
        _special_tokens(tokenizer, processor),
        frozenset(getattr(processor, "task_prompts_without_inputs", ())),
    )
    return Checkpoint(
        recipe, rules, model, tokenizer, image_processor, processor, chat,
        accepted=_accepted(model), ends=_ends(model), starts=_starts(model),
    )  # fmt: skip


def _check_known(config: dict[str, Any]) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN,
    )

    model_type = config.get("model_type")
    if model_type in KNOWN:
        return
    hint = "wrap it in a CustomModel"
    if "auto_map" in config:
        hint = "it brings code of its own, which is never run from a checkpoint: " + hint
    raise LoadFailed(
        "UnsupportedModel",
        f"transformers has no captioner of type {model_type!r}: choose another model, or {hint}",
    )


def _load_processor(folder: Path, model_type: str) -> tuple[Any, Any, Any]:
    """(processor, tokenizer, image processor).

    The PIL image processors are taken although torchvision is there: they treat pictures one by
    one, so a batch cannot change a picture, they are what most checkpoints were trained with,
    and they start no threads that compete with the model's.
    """
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    common: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    if recipe_for(model_type, True).family is Family.IMAGE:
        # AutoProcessor hands back a bare tokenizer for these, without a word.
        tokenizer = AutoTokenizer.from_pretrained(folder, **common)
        return None, tokenizer, AutoImageProcessor.from_pretrained(folder, backend="pil", **common)
    try:
        processor = AutoProcessor.from_pretrained(folder, backend="pil", **common)
    except ImportError:  # families that also see videos exist for torchvision alone
        processor = AutoProcessor.from_pretrained(folder, **common)
    return processor, processor.tokenizer, processor.image_processor


def _load_model(folder: Path, loader: Loader, device: str) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    name = loader.dtype.value
    if loader.dtype is DType.AUTO:
        name = "float32" if device == "cpu" else "bfloat16"
    load: Any = AutoModelForImageTextToText.from_pretrained  # returns a pair, untyped
    model, info = load(
        folder,
        dtype=getattr(torch, name),
        use_safetensors=None if loader.allow_pickle else True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    _check_filled(model, info["missing_keys"], folder)
    return model.to(device).eval()


def _check_filled(model: Any, missing: set[str], folder: Path) -> None:
    """Weights that the files lack are filled with random numbers, silently: refuse that."""
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    lacking = sum(sizes.get(name, 0) for name in missing)
    if lacking > _MOST_MISSING * sum(sizes.values()):
        raise LoadFailed(
            "MissingWeights",
            f"the weights in {folder} are not those of its config.json: {len(missing)} are absent, "
            f"such as {sorted(missing)[0]}; fetch the model's files anew",
        )
    if missing:
        log.warning("not in the files, left random: %s", ", ".join(sorted(missing)))


def _settle(model: Any, tokenizer: Any) -> None:
    # Rows of a batch must end at the same place, or decoder-only models go on after padding.
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    settings = model.generation_config
    # Lengths come with each call, in new tokens; the checkpoint's own total would compete.
    settings.max_length = None
    if settings.pad_token_id is None:
        settings.pad_token_id = tokenizer.pad_token_id


def _special_tokens(tokenizer: Any, processor: Any) -> frozenset[str]:
    added = tokenizer.added_tokens_decoder.values()
    tokens = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    tokens |= {str(getattr(processor, f"{kind}_token", "") or "") for kind in ("image", "video")}
    return steering_tokens(tokens)


def _accepted(model: Any) -> frozenset[str]:
    forward = set(signature(model.forward).parameters)
    prepare = set(signature(model.prepare_inputs_for_generation).parameters)
    names = forward | prepare | set(signature(model.generate).parameters)
    # Tokenizers offer token types to models whose forward() knows none, and processors labels.
    if "token_type_ids" not in forward:
        names.discard("token_type_ids")
    return frozenset(names - {"labels"})


def _ends(model: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    text = model.config.get_text_config()
    # BLIP ends with its separator, whatever its generation config says.
    return _ids(ends, getattr(text, "eos_token_id", None), getattr(text, "sep_token_id", None))


def _starts(model: Any) -> frozenset[int]:
    settings = model.generation_config
    start = getattr(settings, "decoder_start_token_id", None)
    text = model.config.get_text_config()
    return _ids(start, settings.bos_token_id, getattr(text, "bos_token_id", None),
                settings.pad_token_id, settings.eos_token_id)  # fmt: skip


def _ids(*values: int | list[int] | None) -> frozenset[int]:
    found: set[int] = set()
    for value in values:
        found |= set(value) if isinstance(value, list) else {value} - {None}  # type: ignore[arg-type]
    return frozenset(found)
