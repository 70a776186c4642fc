"""Writes a BLIP checkpoint of random weights: the work of BLIP-base without its knowledge."""

import os
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    PreTrainedTokenizerFast,
)

VOCABULARY = 30524


def write_random_blip(folder: Path, new_tokens: int) -> None:
    """BLIP-base's own sizes (224 million parameters, 384 px), always `new_tokens` long captions."""
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(BlipConfig())
    generation = model.generation_config
    generation.min_new_tokens = generation.max_new_tokens = new_tokens
    model.save_pretrained(folder)
    processor = BlipImageProcessor(size={"height": 384, "width": 384})
    BlipProcessor(processor, _tokenizer()).save_pretrained(folder)
    for file in folder.iterdir():
        os.chmod(file, 0o644)  # noqa: PTH101 - a checkpoint is read by other users too


def _tokenizer() -> PreTrainedTokenizerFast:
    special = {"[PAD]": 0, "[CLS]": 101, "[SEP]": 102, "[UNK]": 100, "[MASK]": 103, "[DEC]": 30522}
    taken = set(special.values())
    words = {f"w{i}": i for i in range(VOCABULARY) if i not in taken}
    tokenizer = Tokenizer(models.WordLevel(special | words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", mask_token="[MASK]", bos_token="[DEC]", model_max_length=512,
    )  # fmt: skip
