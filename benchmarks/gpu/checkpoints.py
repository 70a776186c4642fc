"""Checkpoints of random weights in the sizes of real models: their work without their knowledge.

`Size.SMOKE` makes the same architectures tiny. Nothing is downloaded.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

hf: Any = transformers  # its constructors are half typed
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_WORDS = ("describe", "the", "picture", ".")


class Size(StrEnum):
    REAL = "real"
    SMOKE = "smoke"


def write(name: str, size: Size, folder: Path, new_tokens: int) -> Path:
    """Save one of MAKERS. Every caption takes exactly `new_tokens` tokens."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if size == Size.REAL else torch.float32)
    try:
        model, processor = MAKERS[name](size == Size.REAL)
    finally:
        torch.set_default_dtype(before)
    generation = model.generation_config
    generation.min_new_tokens = generation.max_new_tokens = new_tokens
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _blip_large(real: bool) -> tuple[Any, Any]:
    """470 million parameters: a ViT-L, and BERT as decoder."""
    vision = _layers(1024, 4096, 24, 16) if real else _layers(32, 32, 1, 2)
    vision |= {"image_size": 384 if real else 32, "patch_size": 16}
    text = {"vocab_size": 30524, "encoder_hidden_size": vision["hidden_size"]}
    text |= _layers(768, 3072, 12, 12) if real else _layers(32, 32, 1, 2)
    tokenizer = _tokenizer(30524, ["[CLS]", "[SEP]"], bert=True)
    text |= {"bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    side = vision["image_size"]
    images = hf.BlipImageProcessorPil(size={"height": side, "width": side})
    config = hf.BlipConfig(text_config=text, vision_config=vision)
    return hf.BlipForConditionalGeneration(config), hf.BlipProcessor(images, tokenizer)


def _smolvlm_500m(real: bool) -> tuple[Any, Any]:
    """SigLIP-B at 512 px, and a language model of 32 layers. Its first checkpoints call this
    architecture Idefics 3, whose processor needs no further package."""
    special = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<video>"]
    special += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer(49280 if real else 100, special, image_token="<image>")
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **_ENDS,
            "max_position_embeddings": 8192, "num_key_value_heads": 5 if real else 1,
            **(_layers(960, 2560, 32, 15) if real else _layers(32, 32, 1, 2))}  # fmt: skip
    side, scale = (512, 4) if real else (32, 2)
    vision = {"image_size": side, "patch_size": 16,
              **(_layers(768, 3072, 12, 12) if real else _layers(32, 32, 1, 2))}  # fmt: skip
    config = hf.Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=scale,
        image_token_id=tokenizer.image_token_id, **_ENDS,
    )  # fmt: skip
    images = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 4 * side if real else 2 * side},
        max_image_size={"longest_edge": side},
    )
    processor = hf.Idefics3Processor(
        images, tokenizer, image_seq_len=(side // 16 // scale) ** 2,
        chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.Idefics3ForConditionalGeneration(config), processor


def _qwen3_vl_2b(real: bool) -> tuple[Any, Any]:
    """2 billion parameters: a ViT of 24 layers, and a language model of 28."""
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    names = ["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"]
    tokenizer = _tokenizer(151936 if real else 100, special)
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(special), strict=True))
    section = [24, 20, 20] if real else [2, 3, 3]
    text = {
        "vocab_size": len(tokenizer), "head_dim": 128 if real else 16, **_ENDS,
        "num_key_value_heads": 8 if real else 1, "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "rope_theta": 5e6,
                         "mrope_section": section, "mrope_interleaved": True},
        **(_layers(2048, 6144, 28, 16) if real else _layers(32, 32, 1, 2)),
    }  # fmt: skip
    vision = {
        "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
        "out_hidden_size": 2048, "deepstack_visual_indexes": [5, 11, 17],
    } if real else {
        "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2,
        "out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    most = 640 * 480 if real else 128 * 128
    images = hf.Qwen2VLImageProcessor(min_pixels=64 * 64, max_pixels=most, patch_size=16)
    processor = hf.Qwen3VLProcessor(
        images, tokenizer, hf.Qwen3VLVideoProcessor(),
        chat_template=_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )  # fmt: skip
    config = hf.Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, **ids
    )
    return hf.Qwen3VLForConditionalGeneration(config), processor


MAKERS: Mapping[str, Callable[[bool], tuple[Any, Any]]] = {
    "blip-large": _blip_large, "smolvlm-500m": _smolvlm_500m, "qwen3-vl-2b": _qwen3_vl_2b,
}  # fmt: skip


def _layers(hidden: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads,
        # With the usual 0.02 narrow layers add nearly nothing: all pictures get the same caption,
        # and Qwen, whose embeddings are tied, repeats the prompt's last ".", an empty caption.
        "initializer_range": 2 * hidden**-0.5,
    }  # fmt: skip


def _template(picture: str) -> str:
    """A chat template that writes this where a picture stands."""
    return (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}"
        + picture
        + "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}"
    )


def _tokenizer(size: int, special: list[str], bert: bool = False, **named: str) -> Any:
    """One token per word, `size` tokens in all, so that every token that a model writes is one."""
    known = ["<pad>", "<s>", "</s>", "<unk>", *special, *named.values(), *_WORDS]
    words = known + [f"w{number}" for number in range(size - len(known))]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if bert:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    kept = {"extra_special_tokens": named} if named else {}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", additional_special_tokens=special, **kept,
    )  # fmt: skip
