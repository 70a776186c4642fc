"""Checkpoints of many architectures, tiny and with random weights, built in seconds.

They caption nonsense; what they show is how each family wants to be asked and answers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

hf: Any = transformers  # its constructors are half typed

_WORDS = (
    "a", "b", "c", "red", "blue", "circle", "square", "above", "of", "picture", "describe",
    "image", "caption", "en", "what", "does", "the", "in", "one", "sentence", ".", "short",
    "description", "write", "for", "an",
)  # fmt: skip
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
_TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    **_ENDS,
}  # fmt: skip
_SQUARE = {"height": 32, "width": 32}


def build(family: str, folder: Path) -> Path:
    """Save a tiny model of this family, with its processor, in the folder."""
    torch.manual_seed(0)
    model, processor = BUILDERS[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(*extra: str, image_token: str | None = None) -> Any:
    words = ["<pad>", "<s>", "</s>", "<unk>", *extra, *_WORDS]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"extra_special_tokens": {"image_token": image_token}} if image_token else {}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[token for token in extra if token != image_token], **named,
    )  # fmt: skip


def _git() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = "<s>", "</s>"
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    config = hf.GitConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, vision_config=_VISION, **_TEXT
    )
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE)
    return hf.GitForCausalLM(config), hf.GitProcessor(images, tokenizer)


def _querying(config: Any, model: Any, vocabulary: int, image_token: int) -> Any:
    """BLIP-2 and InstructBLIP: an encoder, a few queries, and a language model (OPT)."""
    text = {
        "model_type": "opt", "vocab_size": vocabulary, "ffn_dim": 32, "word_embed_proj_dim": 32,
        "max_position_embeddings": 128, **_TEXT,
    }  # fmt: skip
    queries = {"vocab_size": vocabulary, "encoder_hidden_size": 32, **_TEXT}
    return model(
        config(
            vision_config=_VISION, qformer_config=queries, text_config=text,
            num_query_tokens=4, image_token_index=image_token,
        )
    )  # fmt: skip


def _blip_2() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    model = _querying(hf.Blip2Config, hf.Blip2ForConditionalGeneration, len(tokenizer), image_token)
    images = hf.BlipImageProcessorPil(size=_SQUARE)
    return model, hf.Blip2Processor(images, tokenizer, num_query_tokens=4)


def _instructblip() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    model = _querying(
        hf.InstructBlipConfig, hf.InstructBlipForConditionalGeneration, len(tokenizer), image_token
    )
    images = hf.BlipImageProcessorPil(size=_SQUARE)
    return model, hf.InstructBlipProcessor(images, tokenizer, _tokenizer(), num_query_tokens=4)


def _paligemma() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>", image_token="<image>")
    images = hf.SiglipImageProcessorPil(size=_SQUARE)
    images.image_seq_length = 4
    processor = hf.PaliGemmaProcessor(images, tokenizer)  # adds its own tokens
    config = hf.PaliGemmaConfig(
        text_config={"model_type": "gemma", "vocab_size": len(tokenizer), "head_dim": 16,
                     "num_key_value_heads": 1, **_TEXT},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False,
                       "projection_dim": 32, **_VISION},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=32,
        hidden_size=32, vocab_size=len(tokenizer),
    )  # fmt: skip
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _florence2() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>", image_token="<image>")
    images = hf.CLIPImageProcessorPil(size=_SQUARE, do_center_crop=False)
    images.image_seq_length = 17
    config = hf.Florence2Config(
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32,
                     "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                     "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
                     "max_position_embeddings": 128, "decoder_start_token_id": 2,
                     "forced_eos_token_id": None, **_ENDS},
        vision_config={"model_type": "florence_vision", "drop_path_rate": 0.0,
                       "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
                       "patch_prenorm": [False, True], "embed_dim": [16, 32],
                       "num_heads": [2, 2], "num_groups": [2, 2], "depths": [1, 1],
                       "window_size": 4, "projection_dim": 32, "max_temporal_embeddings": 4,
                       "max_position_embeddings": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return hf.Florence2ForConditionalGeneration(config), hf.Florence2Processor(images, tokenizer)


def _kosmos_2() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE)
    processor = hf.Kosmos2Processor(images, tokenizer, num_patch_index_tokens=4)
    config = hf.Kosmos2Config(
        text_config={"vocab_size": len(tokenizer) + 64, "embed_dim": 32, "layers": 1,
                     "ffn_dim": 32, "attention_heads": 2, "max_position_embeddings": 256, **_ENDS},
        vision_config=_VISION, latent_query_num=64,
    )  # fmt: skip
    return hf.Kosmos2ForConditionalGeneration(config), processor


def _qwen2_vl() -> tuple[Any, Any]:
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = _tokenizer(*special)
    image, video, start, end = tokenizer.convert_tokens_to_ids(special)
    config = hf.Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "num_key_value_heads": 1,
                     "max_position_embeddings": 512,
                     "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, **_TEXT},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2,
                       "mlp_ratio": 2, "patch_size": 14},
        image_token_id=image, video_token_id=video,
        vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    template = (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
        "{% endfor %}{% endfor %}"
    )
    images = hf.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    videos = hf.Qwen2VLVideoProcessor()
    processor = hf.Qwen2VLProcessor(images, tokenizer, videos, chat_template=template)
    return hf.Qwen2VLForConditionalGeneration(config), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "git": _git, "blip-2": _blip_2, "instructblip": _instructblip, "paligemma": _paligemma,
    "florence2": _florence2, "kosmos-2": _kosmos_2, "qwen2_vl": _qwen2_vl,
}  # fmt: skip
