"""Checkpoints of many architectures, tiny and with random weights, built in seconds.

They caption nonsense; what they show is how each family wants to be asked and answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.worker.tiny_chats import CHATS
from tests.worker.tiny_parts import ENDS, SQUARE, TEXT, VISION, WORDS, hf, word_tokenizer
from tokenizers.processors import TemplateProcessing

from captionfleet_worker.engine.families import takes_no_text


def build(family: str, folder: Path) -> Path:
    """Save a tiny model of this family, with its processor, in the folder."""
    torch.manual_seed(0)
    model, processor = BUILDERS[family]()
    _make_talkative(model, processor.tokenizer, 12 if family in _DIM else 4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


_DIM = ("instructblip", "paligemma", "florence2", "kosmos-2", "gemma3")
"""What comes from their pictures is faint beside their own words."""


@torch.no_grad()
def _make_talkative(model: Any, tokenizer: Any, factor: float) -> None:
    """Random weights are so small that all pictures look alike to them, and special tokens are as
    likely as words: without this, equal captions would prove little."""
    speaking = getattr(model, "text_decoder", model)  # BLIP has its head there
    head = speaking.get_output_embeddings().weight
    words_in = model.get_input_embeddings().weight
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.mul_(4 if weight is head or weight is words_in else factor)
    words = tokenizer.convert_tokens_to_ids([word for word in WORDS if word != "."])
    silent = torch.ones(len(head), dtype=torch.bool)
    silent[words] = False
    head[silent] = 0


def _git() -> tuple[Any, Any]:
    tokenizer = word_tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = "<s>", "</s>"
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    config = hf.GitConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, vision_config=VISION, **TEXT
    )
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    return hf.GitForCausalLM(config), hf.GitProcessor(images, tokenizer)


_SEEING = {**VISION, "initializer_range": 0.02}
"""By default the encoders of BLIP and its kin begin so near to zero that all pictures are one."""


def _querying(config: Any, model: Any, vocabulary: int, image_token: int) -> Any:
    """BLIP-2 and InstructBLIP: an encoder, a few queries, and a language model (OPT)."""
    text = {
        "model_type": "opt", "vocab_size": vocabulary, "ffn_dim": 32, "word_embed_proj_dim": 32,
        "max_position_embeddings": 128, **TEXT,
    }  # fmt: skip
    queries = {"vocab_size": vocabulary, "encoder_hidden_size": 32, **TEXT}
    return model(
        config(
            vision_config=_SEEING, qformer_config=queries, text_config=text,
            num_query_tokens=4, image_token_index=image_token,
        )
    )  # fmt: skip


def _blip_2() -> tuple[Any, Any]:
    tokenizer = word_tokenizer("<image>")
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    model = _querying(hf.Blip2Config, hf.Blip2ForConditionalGeneration, len(tokenizer), image_token)
    images = hf.BlipImageProcessorPil(size=SQUARE)
    return model, hf.Blip2Processor(images, tokenizer, num_query_tokens=4)


def _instructblip() -> tuple[Any, Any]:
    tokenizer = word_tokenizer("<image>")
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    model = _querying(
        hf.InstructBlipConfig, hf.InstructBlipForConditionalGeneration, len(tokenizer), image_token
    )
    images = hf.BlipImageProcessorPil(size=SQUARE)
    return model, hf.InstructBlipProcessor(images, tokenizer, word_tokenizer(), num_query_tokens=4)


def _paligemma() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(image_token="<image>")
    images = hf.SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = 4
    processor = hf.PaliGemmaProcessor(images, tokenizer)  # adds its own tokens
    config = hf.PaliGemmaConfig(
        text_config={"model_type": "gemma", "vocab_size": len(tokenizer), "head_dim": 16,
                     "num_key_value_heads": 1, **TEXT},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False,
                       "projection_dim": 32, **VISION},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=32,
        hidden_size=32, vocab_size=len(tokenizer),
    )  # fmt: skip
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _florence2() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(image_token="<image>")
    images = hf.CLIPImageProcessorPil(size=SQUARE, do_center_crop=False)
    images.image_seq_length = 17
    config = hf.Florence2Config(
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32,
                     "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                     "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
                     "max_position_embeddings": 128, "decoder_start_token_id": 2,
                     "forced_eos_token_id": None, **ENDS},
        vision_config={"model_type": "florence_vision", "drop_path_rate": 0.0,
                       "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
                       "patch_prenorm": [False, True], "embed_dim": [16, 32],
                       "num_heads": [2, 2], "num_groups": [2, 2], "depths": [1, 1],
                       "window_size": 4, "projection_dim": 32, "max_temporal_embeddings": 4,
                       "max_position_embeddings": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    kinds = ("pure_text", "description_with_bboxes", "phrase_grounding", "bboxes", "polygons")
    processor = hf.Florence2Processor(
        images, tokenizer, post_processor_config={kind: {} for kind in kinds}
    )
    return hf.Florence2ForConditionalGeneration(config), processor


def _kosmos_2() -> tuple[Any, Any]:
    tokenizer = word_tokenizer()
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    processor = hf.Kosmos2Processor(images, tokenizer, num_patch_index_tokens=4)
    config = hf.Kosmos2Config(
        text_config={"vocab_size": len(tokenizer) + 64, "embed_dim": 32, "layers": 1,
                     "ffn_dim": 32, "attention_heads": 2, "max_position_embeddings": 256, **ENDS},
        vision_config=VISION, latent_query_num=64,
    )  # fmt: skip
    model = hf.Kosmos2ForConditionalGeneration(config)
    # Queries are looked at beside the picture, and are many.
    torch.nn.init.normal_(model.image_to_text_projection.latent_query, std=0.01)
    torch.nn.init.normal_(model.image_to_text_projection.dense.weight)
    return model, processor


def _blip() -> tuple[Any, Any]:
    tokenizer = word_tokenizer(image_token="<image>")
    tokenizer.cls_token, tokenizer.sep_token = "<s>", "</s>"
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    config = hf.BlipConfig(
        text_config={"vocab_size": len(tokenizer), "encoder_hidden_size": 32, "sep_token_id": 2,
                     "projection_dim": 32, "max_position_embeddings": 64, **TEXT},
        vision_config={**_SEEING, "projection_dim": 32}, image_text_hidden_size=32,
    )  # fmt: skip
    images = hf.BlipImageProcessorPil(size=SQUARE)
    return hf.BlipForConditionalGeneration(config), hf.BlipProcessor(images, tokenizer)


def _vision_encoder_decoder() -> tuple[Any, Any]:
    tokenizer = word_tokenizer()
    decoder = {"vocab_size": len(tokenizer), "n_embd": 32, "n_layer": 1, "n_head": 2,
               "n_positions": 64, "add_cross_attention": True, "is_decoder": True}  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        hf.ViTConfig(**VISION), hf.GPT2Config(**decoder, **ENDS)
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    images = hf.ViTImageProcessorPil(size=SQUARE)
    return hf.VisionEncoderDecoderModel(config), Both(images, tokenizer)


@dataclass(frozen=True)
class Both:
    """What no processor unites."""

    images: Any
    tokenizer: Any

    def save_pretrained(self, folder: Path) -> None:
        self.images.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "vision-encoder-decoder": _vision_encoder_decoder, "blip": _blip, "git": _git,
    "blip-2": _blip_2, "instructblip": _instructblip, "paligemma": _paligemma,
    "florence2": _florence2, "kosmos-2": _kosmos_2, **CHATS,
}  # fmt: skip
ASKED = [family for family in BUILDERS if not takes_no_text(family)]
"""Those that take a prompt."""
