"""Tiny checkpoints of the families that are asked by a chat template."""

from collections.abc import Callable
from typing import Any

import torch
from tests.worker.tiny_parts import ENDS, SQUARE, TEXT, VISION, hf, word_tokenizer

_LLAMA = {"model_type": "llama", "num_key_value_heads": 1, "max_position_embeddings": 2048, **TEXT}
_SIGLIP = {"model_type": "siglip_vision_model", "vision_use_head": False, **VISION}


def _template(picture: str) -> str:
    """A chat template that writes this where a picture stands."""
    return (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}"
        + picture
        + "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}"
    )


def _llava() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(image_token="<image>")
    config = hf.LlavaConfig(
        text_config={"vocab_size": len(tokenizer), **_LLAMA},
        vision_config={"model_type": "clip_vision_model", **VISION},
        image_token_index=tokenizer.image_token_id, vision_feature_layer=-1,
        image_seq_length=4, **ENDS,
    )  # fmt: skip
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE), tokenizer,
        patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.LlavaForConditionalGeneration(config), processor


def _llava_next() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(image_token="<image>")
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    config = hf.LlavaNextConfig(
        text_config={"vocab_size": len(tokenizer), **_LLAMA},
        vision_config={"model_type": "clip_vision_model", **VISION},
        image_token_index=tokenizer.image_token_id, vision_feature_layer=-1,
        image_grid_pinpoints=pinpoints, image_seq_length=4, **ENDS,
    )  # fmt: skip
    images = hf.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=SQUARE, image_grid_pinpoints=pinpoints
    )
    processor = hf.LlavaNextProcessor(
        images, tokenizer, patch_size=16, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.LlavaNextForConditionalGeneration(config), processor


def _llava_onevision() -> tuple[Any, Any]:
    tokenizer = word_tokenizer("<video>", image_token="<image>")
    pinpoints = [[32, 32], [32, 64], [64, 32], [64, 64]]
    config = hf.LlavaOnevisionConfig(
        text_config={"vocab_size": len(tokenizer), **_LLAMA}, vision_config=_SIGLIP,
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints, **ENDS,
    )  # fmt: skip
    images = hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=pinpoints)
    processor = hf.LlavaOnevisionProcessor(
        images, tokenizer, hf.LlavaOnevisionVideoProcessor(size=SQUARE), num_image_tokens=4,
        vision_feature_select_strategy="full", chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


_IDEFICS_TOKENS = ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<video>")


def _idefics3() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(*_IDEFICS_TOKENS, *_rows_and_columns(), image_token="<image>")
    config = hf.Idefics3Config(
        text_config={"vocab_size": len(tokenizer), **_LLAMA}, vision_config=VISION,
        image_token_id=tokenizer.image_token_id, scale_factor=2, **ENDS,
    )  # fmt: skip
    images = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    processor = hf.Idefics3Processor(
        images, tokenizer, image_seq_len=1, chat_template=_template("<image>")
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(*_IDEFICS_TOKENS, *_rows_and_columns(), image_token="<image>")
    config = hf.SmolVLMConfig(
        text_config={"vocab_size": len(tokenizer), **_LLAMA}, vision_config=VISION,
        image_token_id=tokenizer.image_token_id, scale_factor=2, **ENDS,
    )  # fmt: skip
    images = hf.SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    processor = hf.SmolVLMProcessor(
        images, tokenizer, hf.SmolVLMVideoProcessor(), image_seq_len=1,
        chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.SmolVLMForConditionalGeneration(config), processor


def _rows_and_columns() -> list[str]:
    return [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]


def _qwen_tokens() -> tuple[Any, dict[str, int]]:
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    names = ["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"]
    tokenizer = word_tokenizer(*special)
    return tokenizer, dict(zip(names, tokenizer.convert_tokens_to_ids(special), strict=True))


_QWEN_PICTURE = _template("<|vision_start|><|image_pad|><|vision_end|>")
_QWEN_TEXT = {"num_key_value_heads": 1, "max_position_embeddings": 4096, **TEXT}
_MROPE = {"type": "mrope", "rope_type": "default", "rope_theta": 10000.0,
          "mrope_section": [2, 3, 3]}  # fmt: skip


def _qwen2_vl() -> tuple[Any, Any]:
    tokenizer, ids = _qwen_tokens()
    config = hf.Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "rope_scaling": _MROPE, **_QWEN_TEXT},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2,
                       "mlp_ratio": 2, "patch_size": 14},
        **ids,
    )  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    processor = hf.Qwen2VLProcessor(
        images, tokenizer, hf.Qwen2VLVideoProcessor(), chat_template=_QWEN_PICTURE
    )
    return hf.Qwen2VLForConditionalGeneration(config), processor


def _qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer, ids = _qwen_tokens()
    config = hf.Qwen2_5_VLConfig(
        text_config={"vocab_size": len(tokenizer), "rope_scaling": _MROPE, **_QWEN_TEXT},
        vision_config={"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2,
                       "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [0]},
        **ids,
    )  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    processor = hf.Qwen2_5_VLProcessor(
        images, tokenizer, hf.Qwen2VLVideoProcessor(), chat_template=_QWEN_PICTURE
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[Any, Any]:
    tokenizer, ids = _qwen_tokens()
    config = hf.Qwen3VLConfig(
        text_config={"vocab_size": len(tokenizer), "head_dim": 16, "rope_scaling": _MROPE,
                     **_QWEN_TEXT},
        vision_config={"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2,
                       "out_hidden_size": 32, "num_position_embeddings": 64,
                       "deepstack_visual_indexes": [0]},
        **ids,
    )  # fmt: skip
    images = hf.Qwen2VLImageProcessor(min_pixels=64 * 64, max_pixels=128 * 128, patch_size=16)
    processor = hf.Qwen3VLProcessor(
        images, tokenizer, hf.Qwen3VLVideoProcessor(), chat_template=_QWEN_PICTURE
    )
    return hf.Qwen3VLForConditionalGeneration(config), processor


def _internvl() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(
        start_image_token="<img>", end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    config = hf.InternVLConfig(
        text_config={"vocab_size": len(tokenizer), **_LLAMA},
        vision_config={**VISION, "image_size": [32, 32], "patch_size": [8, 8]},
        image_token_id=tokenizer.context_image_token_id, image_seq_length=4, **ENDS,
    )  # fmt: skip
    images = hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, max_patches=4)
    processor = hf.InternVLProcessor(
        images, tokenizer, hf.InternVLVideoProcessor(size=SQUARE), image_seq_length=4,
        chat_template=_template("<IMG_CONTEXT>"),
    )  # fmt: skip
    return hf.InternVLForConditionalGeneration(config), processor


def _gemma3() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    config = hf.Gemma3Config(
        text_config={"model_type": "gemma3_text", "vocab_size": len(tokenizer), "head_dim": 16,
                     "num_key_value_heads": 1, "layer_types": ["full_attention"], **TEXT},
        vision_config=_SIGLIP, mm_tokens_per_image=4, image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id, eoi_token_index=tokenizer.eoi_token_id, **ENDS,
    )  # fmt: skip
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(size=SQUARE), tokenizer, image_seq_length=4,
        chat_template=_template("<start_of_image>"),
    )  # fmt: skip
    model = hf.Gemma3ForConditionalGeneration(config)
    # Untrained it is all zeros: nothing of the picture would come through.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.02)
    return model, processor


def _lfm2_vl() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(
        "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>",
        *(f"<|img_row_{row}_col_{column}|>" for row in (1, 2) for column in (1, 2)),
        image_token="<image>",
    )  # fmt: skip
    config = hf.Lfm2VlConfig(
        text_config={"model_type": "lfm2", "vocab_size": len(tokenizer), "num_key_value_heads": 1,
                     "layer_types": ["conv", "full_attention"], **TEXT, "num_hidden_layers": 2},
        vision_config={"model_type": "siglip2_vision_model", "num_patches": 16, **VISION},
        image_token_id=tokenizer.image_token_id, projector_hidden_size=32, **ENDS,
    )  # fmt: skip
    images = hf.Lfm2VlImageProcessor(
        tile_size=64, min_tiles=2, max_tiles=4, min_image_tokens=1, max_image_tokens=16,
        encoder_patch_size=16,
    )  # fmt: skip
    processor = hf.Lfm2VlProcessor(images, tokenizer, chat_template=_template("<image>"))
    return hf.Lfm2VlForConditionalGeneration(config), processor


def _aya_vision() -> tuple[Any, Any]:
    """In no table of ours: it stands for all types that transformers knows beside those."""
    tokenizer = word_tokenizer(
        "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "TILE", "TILE_GLOBAL", "<image>"
    )
    config = hf.AyaVisionConfig(
        text_config={"model_type": "cohere2", "vocab_size": len(tokenizer),
                     "num_key_value_heads": 1, "layer_types": ["full_attention"], **TEXT},
        vision_config={**_SIGLIP, "patch_size": 8},
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"), **ENDS,
    )  # fmt: skip
    images = hf.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, max_patches=4)
    processor = hf.AyaVisionProcessor(
        images, tokenizer, patch_size=8, img_size=32, downsample_factor=2,
        chat_template=_template("<image>"),
    )  # fmt: skip
    return hf.AyaVisionForConditionalGeneration(config), processor


CHATS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": _llava, "llava_next": _llava_next, "llava_onevision": _llava_onevision,
    "idefics3": _idefics3, "smolvlm": _smolvlm, "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl, "qwen3_vl": _qwen3_vl, "internvl": _internvl,
    "gemma3": _gemma3, "lfm2_vl": _lfm2_vl, "aya_vision": _aya_vision,
}  # fmt: skip
