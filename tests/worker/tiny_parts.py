"""What the tiny checkpoints are made of: sizes of their layers, and a tokenizer of few words."""

from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

hf: Any = transformers  # its constructors are half typed

WORDS = (
    "a", "b", "c", "red", "blue", "circle", "square", "above", "of", "picture", "describe",
    "image", "caption", "en", "what", "does", "the", "in", "one", "sentence", ".", "short",
    "description", "write", "for", "an",
)  # fmt: skip
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    **ENDS,
}  # fmt: skip
SQUARE = {"height": 32, "width": 32}


def word_tokenizer(*extra: str, **named: str) -> Any:
    """One token per word. `extra` are special tokens; `named` those that processors ask for by a
    name, such as image_token."""
    extra = (*extra, *named.values())
    words = ["<pad>", "<s>", "</s>", "<unk>", *extra, *WORDS]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    kept = {"extra_special_tokens": named} if named else {}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[each for each in extra if each not in named.values()], **kept,
    )  # fmt: skip
