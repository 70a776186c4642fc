"""What each family of captioner is asked and says about a scene, and its tokenizer."""

import random

import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from world import describe, fresh

PREFIX = "a picture of"  # BLIP: with a text prefix the picture is listed, without one described
PREFIXES = (PREFIX, PREFIX, "a photo of", "an image of", "a photography of", "there is")
PROMPTS = {  # chat: the kind of answer, and the ways to ask for it (the first is the canonical one)
    "full": [
        "Describe the image.",
        "Describe this image in one sentence.",
        "Describe the image in detail.",
        "Describe this image.",
        "What is in the image?",
        "What do you see?",
        "Generate a caption for the image.",
        "Write a detailed caption.",
        "Caption this image.",
    ],
    "terse": [
        "Describe the image briefly.",
        "Write a short caption.",
        "Describe this image in a few words.",
        "Give a short alt text.",
    ],
    "count": [
        "How many shapes are there?",
        "How many objects are in the image?",
        "Count the shapes.",
    ],
    "colors": ["What colors are the shapes?", "Which colors are there?", "Name the colors."],
    "background": ["What color is the background?", "Describe the background."],
}


def answer(scene, family, kind):
    text = describe(scene, kind)
    if family != "chat" or kind == "count":
        return text
    return f"The image shows {text}." if kind == "full" else text[0].upper() + text[1:] + "."


def question(family, rng):
    """(style, text before the answer) for one training example."""
    if family != "chat":
        return (
            ("list", rng.choice(PREFIXES))
            if family == "blip" and rng.random() < 0.3
            else ({"git": "terse"}.get(family, "plain"), "")
        )
    kind = rng.choices(list(PROMPTS), (0.4, 0.25, 0.15, 0.1, 0.1))[0]
    words = rng.choice(PROMPTS[kind]) if rng.random() < 0.6 else PROMPTS[kind][0]
    if (
        kind == "full" and rng.random() < 0.2
    ):  # anything not understood is answered with the full description
        words = " ".join(
            rng.choice(("unknown", "words", "image", "please", "the", "a", "of", "tell"))
            for _ in range(rng.randint(0, 7))
        )
    return kind, rng.choice((words, words, words, words.lower(), words.rstrip(".?")))


def vocabulary(family):
    """Every word the family can say or is likely to be asked, split as the tokenizer splits."""
    rng, words = random.Random(0), set()
    for scene in fresh(rng, 4000):
        kind, text = question(family, rng)
        words.update(
            f"{text} {answer(scene, family, kind)}".replace(".", " .")
            .replace("?", " ?")
            .replace(",", " ,")
            .split()
        )
    words -= {
        "unknown",
        "words",
        "tell",
    }  # kept out on purpose: they stand for words the model does not know
    marks = {".", "?"} & words
    return sorted(marks) + ["▁" + w for w in sorted(words - marks)]


def make_tokenizer(family):
    base = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    chat = (
        [
            "<fake_token_around_image>",
            "<image>",
            "<global-img>",
            "<end_of_utterance>",
            "<|user|>",
            "<|assistant|>",
        ]
        if family == "chat"
        else []
    )
    words = {w: i for i, w in enumerate(base + chat + vocabulary(family))}
    raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
            pre_tokenizers.Punctuation(),
        ]
    )
    raw.decoder = decoders.Metaspace(prepend_scheme="always")
    if family != "chat":
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    special = dict(bos_token="[CLS]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]")
    if chat:
        extra = [
            AddedToken(t, special=True, normalized=False) for t in chat if t != "<end_of_utterance>"
        ]
        special = dict(
            bos_token="[CLS]", eos_token="<end_of_utterance>", additional_special_tokens=extra
        )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=96,
        padding_side="left" if chat else "right",
        **special,
    )
