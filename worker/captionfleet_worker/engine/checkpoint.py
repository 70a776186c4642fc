"""Loads a transformers checkpoint from a folder: model, tokenizer and processor, ready to ask.

Runs code of the checkpoint only where the manifest says so, and never asks a hub.
"""

import logging
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from captionfleet.resources.model import Attention, Loader, PipelineTag, Quantization
from captionfleet_worker.engine.arguments import meant
from captionfleet_worker.engine.chat import Chat
from captionfleet_worker.engine.families import (
    Family,
    PromptRules,
    Recipe,
    Takes,
    recipe_for,
    recipe_of,
    steering_tokens,
)
from captionfleet_worker.engine.hardware import (
    attention_for,
    check_quantization,
    dtype_for,
    this_hardware,
)
from captionfleet_worker.engine.processors import load_processors
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine.remote_code import check_all_here, own_captioner
from captionfleet_worker.engine.weights import check_complete
from captionfleet_worker.engine.wording import THOUGHTS_CLOSE, THOUGHTS_OPEN, Thoughts

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
    picture: str
    """What stands for the picture in a plain text."""
    accepted: frozenset[str]
    """Inputs that its generate() takes."""
    ends: frozenset[int]
    """Token ids that end a caption."""
    starts: frozenset[int]
    """Token ids that a row of output may begin with before the model writes."""
    thoughts: Thoughts
    """Token ids around what it thinks before it answers."""


def load_checkpoint(
    folder: Path, loader: Loader, device: str, tag: PipelineTag | None = None
) -> Checkpoint:
    """Raises LoadFailed for what a person can mend, else what transformers raises."""
    config = check_complete(folder, loader.allow_pickle)
    _check_known(config, loader.trust_remote_code)
    if loader.trust_remote_code:
        check_all_here(folder)

    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model_type = str(config["model_type"])
    arguments = _arguments(loader, device, recipe_of(model_type).overflows)
    processors = load_processors(
        folder, model_type, loader.trust_remote_code, loader.processor,
        recipe_of(model_type).most_pixels,
    )  # fmt: skip
    processor, tokenizer = processors.whole, processors.tokenizer
    recipe = recipe_for(model_type, _takes(processor), tag)
    chat = _chat(recipe, processor, loader)
    model = _load_model(folder, config, loader, device, arguments)
    _settle(model, tokenizer)
    rules = PromptRules(
        recipe.family,
        _special_tokens(tokenizer, processor),
        frozenset(getattr(processor, "task_prompts_without_inputs", ())),
        (*recipe.opens_with, *getattr(processor, "task_prompts_with_input", ())),
    )
    return Checkpoint(
        recipe, rules, model, tokenizer, processors.images, processor, chat,
        picture=_picture(model.config, tokenizer, processor),
        accepted=_accepted(model), ends=_ends(model), starts=_starts(model),
        thoughts=_thoughts(tokenizer),
    )  # fmt: skip


def generate_knows() -> frozenset[str]:
    """Names of the settings that this transformers' generate() takes."""
    from transformers import GenerationConfig

    return frozenset(name for name in vars(GenerationConfig()) if not name.startswith("_"))


def _check_known(config: dict[str, Any], trusted: bool) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN,
    )

    model_type = config.get("model_type")
    if model_type in KNOWN or (trusted and model_type and own_captioner(config)):
        return
    hint = "choose another model, or wrap it in a CustomModel"
    if "auto_map" in config and not trusted:
        hint = (
            "it brings code of its own; if you trust its authors, pin "
            "spec.source.huggingFace.revision to a commit and set spec.loader.trustRemoteCode to "
            f"true, else {hint}"
        )
    elif "auto_map" in config:
        hint = f"nor does the code that it brings offer one; {hint}"
    raise LoadFailed(
        "UnsupportedModel", f"transformers has no captioner of type {model_type!r}: {hint}"
    )


def _takes(processor: Any) -> Takes:
    return Takes(
        text=processor is not None,
        chat=getattr(processor, "chat_template", None) is not None,
        placeholder=bool(getattr(processor, "image_token", None)),
    )


def _chat(recipe: Recipe, processor: Any, loader: Loader) -> Chat | None:
    if recipe.family is Family.CHAT:
        return Chat(processor, meant(loader.chat_template))
    if loader.chat_template:
        raise LoadFailed(
            "InvalidSpec",
            "spec.loader.chatTemplate sets variables of a chat template, and this model is asked "
            "without one: remove it",
        )
    return None


def _arguments(loader: Loader, device: str, overflows: bool) -> dict[str, Any]:
    """Of from_pretrained(), by hardware. Raises LoadFailed for what this one lacks."""
    import torch

    hardware = this_hardware(device)
    check_quantization(loader, hardware)
    dtype = dtype_for(loader, hardware, overflows)
    attention = attention_for(loader, hardware, dtype)
    chosen = {"attn_implementation": attention} if attention else {}
    return {"dtype": getattr(torch, dtype.value), **chosen}


def _load_model(
    folder: Path, config: dict[str, Any], loader: Loader, device: str, arguments: dict[str, Any]
) -> Any:
    import transformers

    own = own_captioner(config) if loader.trust_remote_code else None
    # from_pretrained() returns a pair here, untyped.
    load: Any = getattr(transformers, own or "AutoModelForImageTextToText").from_pretrained
    try:
        model, info = load(
            folder,
            use_safetensors=None if loader.allow_pickle else True,
            trust_remote_code=loader.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **arguments,
        )
    except ValueError as error:
        if loader.attention is Attention.AUTO or "attention" not in str(error).lower():
            raise
        raise LoadFailed(
            "UnsupportedAttention",
            f"spec.loader.attention is {loader.attention}, which models of type "
            f"{config['model_type']} do not have: set it to auto",
        ) from error
    _check_filled(model, info["missing_keys"], folder)
    if not hasattr(model, "generate"):
        raise LoadFailed(
            "UnsupportedModel",
            f"its code ({type(model).__name__}) has no generate(): wrap it in a CustomModel",
        )
    if loader.quantization is Quantization.INT8:
        from captionfleet_worker.engine import quantization

        if not quantization.available:
            raise LoadFailed(
                "UnsupportedQuantization",
                "spec.loader.quantization is int8, and this worker's processor lacks its "
                "arithmetic (an x86 with AVX2 has it): set it to none, or choose other pools by "
                "spec.poolSelector",
            )
        log.info("%d layers in int8", quantization.to_int8(model))
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
    # Some processors keep their marks as attributes, and do not tell the tokenizer what they are.
    own = vars(processor).items() if processor is not None else ()
    tokens |= {mark for name, mark in own if name.endswith("_token") and isinstance(mark, str)}
    return steering_tokens(tokens)


def _picture(config: Any, tokenizer: Any, processor: Any) -> str:
    """The placeholder, between the marks by which some models find their pictures (Qwen)."""
    token = str(getattr(processor, "image_token", None) or "")
    marks = [getattr(config, f"vision_{end}_token_id", None) for end in ("start", "end")]
    if not token or None in marks:
        return token
    start, end = tokenizer.convert_ids_to_tokens(marks)
    return f"{start}{token}{end}"


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


def _thoughts(tokenizer: Any) -> Thoughts:
    known = tokenizer.get_vocab()
    return Thoughts(
        frozenset(known[mark] for mark in THOUGHTS_OPEN if mark in known),
        frozenset(known[mark] for mark in THOUGHTS_CLOSE if mark in known),
    )


def _ids(*values: int | list[int] | None) -> frozenset[int]:
    found: set[int] = set()
    for value in values:
        found |= set(value) if isinstance(value, list) else {value} - {None}  # type: ignore[arg-type]
    return frozenset(found)
