#!/usr/bin/env python3
"""Train one tiny image captioner (about 1M parameters) on generated pictures of colored shapes, on a CPU, in minutes.

    python train.py --family ved|blip|git|chat --seconds 300 --out models/shapes-basic

The result is an ordinary Hugging Face folder (safetensors, processor, tokenizer) for AutoModelForImageTextToText.
One combination of colors, shapes and relation in ten is never trained on (see `held_out`).
What makes plain ViT towers learn in minutes: a throw-away head that names, for every patch, what lies
under it and its role in the scene (the upper one of two, one of a row, ...).
"""

import argparse
import functools
import itertools
import json
import math
import os
import random
import time
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import numpy as np
import torch
import transformers as hf
from PIL import Image, ImageDraw
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

# ------------------------------------------------------------------------------------------------ the world
COLORS = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 90, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 60, 190),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star")
BACKGROUNDS = {"white": (250, 250, 250), "gray": (160, 160, 160), "cyan": (150, 225, 230)}
ASPECTS = (1.0, 1.0, 1.0, 4 / 3, 3 / 2, 3 / 4, 2 / 3)


def random_scene(rng):
    """One shape, two shapes in a relation, or three equal shapes in a row. Positions are in [0, 1]."""
    thing = lambda: (rng.choice(list(COLORS)), rng.choice(SHAPES))
    background, kind, size = (
        rng.choice(list(BACKGROUNDS)),
        rng.random(),
        lambda: rng.uniform(0.16, 0.22),
    )
    if kind < 0.22:
        items, relation = (
            [(*thing(), rng.uniform(0.28, 0.72), rng.uniform(0.28, 0.72), size())],
            None,
        )
    elif kind < 0.88:
        near, far, side1, side2 = (
            rng.uniform(0.24, 0.3),
            rng.uniform(0.7, 0.76),
            rng.uniform(0.38, 0.62),
            rng.uniform(0.38, 0.62),
        )
        relation = rng.choice(("above", "left of"))
        spots = (
            [(side1, near), (side2, far)] if relation == "above" else [(near, side1), (far, side2)]
        )
        items = [(*thing(), x, y, size()) for x, y in spots]
    else:
        what, relation = thing(), "in a row"
        items = [
            (
                *what,
                (i + 0.5) / 3 + rng.uniform(-0.02, 0.02),
                rng.uniform(0.35, 0.65),
                rng.uniform(0.12, 0.145),
            )
            for i in range(3)
        ]
    return {"background": background, "relation": relation, "items": items}


def outline(shape, x, y, rx, ry):
    """The polygon of a shape (a circle has its own drawing call)."""
    points = {
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "triangle": [(0, -1), (-1, 0.8), (1, 0.8)],
        "star": [
            (q * math.cos(a), q * math.sin(a))
            for a, q in ((math.pi * (k / 5 - 0.5), (1.15, 0.48)[k % 2]) for k in range(10))
        ],
    }
    return [(x + a * rx, y + b * ry) for a, b in points[shape]]


def draw(scene, rng, width, height, aspect=1.0, background=None):
    """(picture, map of item numbers). `aspect` squeezes the shapes as a resize of a non-square picture would."""
    jitter = lambda c, by=14: tuple(max(0, min(255, v + rng.randint(-by, by))) for v in c)
    image = Image.new(
        "RGBA" if background else "RGB",
        (width, height),
        background or jitter(BACKGROUNDS[scene["background"]], 8),
    )
    owner = Image.new("L", (width, height))
    squeeze_x, squeeze_y = min(1, 1 / aspect), min(1, aspect)
    for number, (color, shape, x, y, r) in enumerate(scene["items"], 1):
        rx, ry = r * min(width, height) * squeeze_x, r * min(width, height) * squeeze_y
        for canvas, ink in ((image, jitter(COLORS[color])), (owner, number)):
            pen, cx, cy = ImageDraw.Draw(canvas), x * width, y * height
            if shape == "circle":
                pen.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=ink)
            else:
                pen.polygon(outline(shape, cx, cy, rx, ry), fill=ink)
    return image, owner


def describe(scene, style):
    """The one right answer about a scene: plain | full | terse | list | count | colors | background."""
    (color, shape, *_), items = scene["items"][0], scene["items"]
    names = [f"{c} {s}" for c, s, *_ in items]
    if style in ("background", "count"):
        return scene["background"] if style == "background" else str(len(items))
    if style == "colors":
        return " and ".join(dict.fromkeys(c for c, *_ in items))
    if scene["relation"] == "in a row":
        text = f"three {color} {shape}s" + ("" if style in ("terse", "list") else " in a row")
    elif style == "list":
        text = " and ".join("a " + n for n in names)
    else:
        article = "" if style == "terse" else "a "
        text = f" {scene['relation']} ".join(article + n for n in names)
    return text + (f" on a {scene['background']} background" if style == "full" else "")


def held_out(scene):
    return zlib.crc32(describe(scene, "plain").encode()) % 10 == 0


def fresh(rng, count, unseen=None):
    """`count` scenes; unseen=True only held-out combinations, False only trained ones."""
    endless = (random_scene(rng) for _ in itertools.count())
    return list(
        itertools.islice((s for s in endless if unseen is None or held_out(s) == unseen), count)
    )


# ------------------------------------------------------------------------------------------------ what each family says

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


# ------------------------------------------------------------------------------------------------ one builder per family

SIDE, PATCH, WIDTH, HEADS = 48, 8, 128, 4
GRID = SIDE // PATCH
NORM = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2)
TOWER = dict(
    hidden_size=WIDTH,
    intermediate_size=2 * WIDTH,
    num_hidden_layers=3,
    num_attention_heads=HEADS,
    image_size=SIDE,
    patch_size=PATCH,
)
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}{% endif %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_ved(tok):
    """SegFormer (convolutional patches) + GPT-2: the quickest learner."""
    encoder = hf.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 2],
        sr_ratios=[2, 1],
        hidden_sizes=[WIDTH // 2, WIDTH],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[2, 4],
        mlp_ratios=[2, 2],
        drop_path_rate=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        reshape_last_stage=False,
    )
    encoder.hidden_size = WIDTH  # SegformerConfig has none, VisionEncoderDecoder asks for it
    decoder = hf.GPT2Config(
        vocab_size=len(tok),
        n_embd=WIDTH,
        n_layer=2,
        n_head=HEADS,
        n_inner=2 * WIDTH,
        n_positions=40,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    model = hf.VisionEncoderDecoderModel(config=config)
    return (
        model,
        model.encoder,
        [
            hf.ViTImageProcessorPil(
                size={"height": SIDE, "width": SIDE}, do_convert_rgb=True, **NORM
            ),
            tok,
        ],
    )


def build_blip(tok):
    text = dict(
        vocab_size=len(tok),
        hidden_size=WIDTH,
        encoder_hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=40,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        sep_token_id=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = hf.BlipForConditionalGeneration(
        hf.BlipConfig(
            projection_dim=WIDTH,
            image_text_hidden_size=WIDTH,
            text_config=text,
            vision_config=dict(**TOWER, projection_dim=WIDTH, initializer_range=0.02),
        )
    )
    images = hf.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}, **NORM)
    return model, model.vision_model, [hf.BlipProcessor(image_processor=images, tokenizer=tok)]


def build_git(tok):
    model = hf.GitForCausalLM(
        hf.GitConfig(
            vision_config=TOWER,
            vocab_size=len(tok),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    images = hf.CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, **NORM
    )
    return model, model.git.image_encoder, [hf.GitProcessor(image_processor=images, tokenizer=tok)]


def build_chat(tok):
    """Idefics3 (the architecture of SmolVLM): SigLIP-like tower, pixel shuffle (9 image tokens), Llama decoder."""
    token = tok.convert_tokens_to_ids
    text = dict(
        model_type="llama",
        vocab_size=len(tok),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=tok.eos_token_id,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = hf.Idefics3ForConditionalGeneration(
        hf.Idefics3Config(
            vision_config=TOWER,
            text_config=text,
            scale_factor=2,
            image_token_id=token("<image>"),
            pad_token_id=0,
            tie_word_embeddings=True,
        )
    )
    images = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIDE},
        max_image_size={"longest_edge": SIDE},
        do_image_splitting=False,
        **NORM,
    )
    processor = hf.Idefics3Processor(
        images, tok, image_seq_len=GRID * GRID // 4, chat_template=CHAT_TEMPLATE
    )
    return model, model.model.vision_model, [processor]


BUILD = {"ved": build_ved, "blip": build_blip, "git": build_git, "chat": build_chat}


# ------------------------------------------------------------------------------------------------ data
KINDS = [*BACKGROUNDS, *((c, s) for c in COLORS for s in SHAPES)]
ROLES = [
    None,
    (None, 0),
    ("above", 0),
    ("above", 1),
    ("left of", 0),
    ("left of", 1),
    ("in a row", 0),
]


def make_pool(rng, count):
    """Training pictures as uint8 (N, 3, S, S), two classes for each patch (what it shows, its role in the scene), and the scenes."""
    scenes, pictures, classes = fresh(rng, count, unseen=False), [], []
    for scene in scenes:
        image, owner = draw(scene, rng, 2 * SIDE, 2 * SIDE, aspect=rng.choice(ASPECTS))
        pictures.append(np.asarray(image.resize((SIDE, SIDE), Image.BILINEAR)))
        blocks = np.asarray(owner).reshape(GRID, 2 * PATCH, GRID, 2 * PATCH)
        cover = np.stack([(blocks == n).mean((1, 3)) for n in range(1, len(scene["items"]) + 1)])
        shown, hit = cover.argmax(0), cover.max(0) > 0.12
        names = np.array([KINDS.index(item[:2]) for item in scene["items"]])
        roles = np.array(
            [
                ROLES.index((scene["relation"], 0 if len(scene["items"]) == 3 else n))
                for n in range(len(scene["items"]))
            ]
        )
        classes.append(
            (
                np.where(hit, names[shown], KINDS.index(scene["background"])).ravel(),
                np.where(hit, roles[shown], 0).ravel(),
            )
        )
    return (
        torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.array(classes)),
        scenes,
    )


def encode(scenes, family, tok, processor, rng, versions):
    """ids and labels (N, versions, L): the question, if any, is not scored; the answer and its end are."""

    @functools.cache
    def head(text):
        if family != "chat":
            return [1] + tok(text, add_special_tokens=False)["input_ids"]
        turn = [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": Image.new("RGB", (SIDE, SIDE))},
                    {"type": "text", "text": text},
                ],
            }
        ]
        return processor.apply_chat_template(
            turn, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"][0]

    asked = [(scene, *question(family, rng)) for scene in scenes for _ in range(versions)]
    answers = tok(
        [answer(scene, family, kind) for scene, kind, _ in asked], add_special_tokens=False
    )["input_ids"]
    rows = [(head(text), said + [tok.eos_token_id]) for (_, _, text), said in zip(asked, answers)]
    length = max(len(h) + len(a) for h, a in rows)
    fill = lambda masked, pad: torch.tensor(
        [masked(h) + a + [pad] * (length - len(h) - len(a)) for h, a in rows]
    ).view(len(scenes), versions, -1)
    return fill(list, 0), fill(lambda h: [-100] * len(h), -100)


# ------------------------------------------------------------------------------------------------ training
def caption_loss(model, family, x, ids, labels):
    width = int((ids != 0).sum(1).max())
    ids, labels = ids[:, :width].contiguous(), labels[:, :width].contiguous()
    if family == "ved":
        return model(
            pixel_values=x,
            decoder_input_ids=ids[:, :-1].contiguous(),
            labels=labels[:, 1:].contiguous(),
        ).loss
    x = x.unsqueeze(1) if family == "chat" else x
    return model(
        pixel_values=x,
        input_ids=ids,
        attention_mask=(ids != 0).long(),
        labels=labels,
        **({} if family == "blip" else {"use_cache": False}),
    ).loss


def patch_loss(scores, classes):
    kind, role = scores.flatten(0, 1).split((len(KINDS), len(ROLES)), dim=1)
    cross_entropy = torch.nn.functional.cross_entropy
    return cross_entropy(kind, classes[:, 0].flatten()) + cross_entropy(
        role, classes[:, 1].flatten()
    )


def train(o):
    torch.manual_seed(o.seed)
    rng, started, family = random.Random(o.seed), time.time(), o.family
    tok = make_tokenizer(family)
    model, tower, parts = BUILD[family](tok)
    if o.init:
        model.load_state_dict(type(model).from_pretrained(o.init, dtype=torch.float32).state_dict())
    images, classes, scenes = make_pool(rng, o.pool)
    ids, labels = encode(scenes, family, tok, parts[0], rng, {"chat": 3, "blip": 2}.get(family, 1))
    print(
        f"{family}: {sum(p.numel() for p in model.parameters()):,} parameters, {len(tok)} words, {o.pool} pictures in {time.time() - started:.0f} s",
        flush=True,
    )

    head, seen = torch.nn.Linear(WIDTH, len(KINDS) + len(ROLES)), {}  # the throw-away head
    tower.register_forward_hook(
        lambda module, args, out: seen.update(
            tokens=out[0] if isinstance(out, tuple) else out.last_hidden_state
        )
    )
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *head.parameters()],
        lr=o.lr,
        weight_decay=0.02,
        betas=(0.9, 0.98),
        fused=True,
    )
    model.train()
    began, step, smooth = time.time(), 0, [0.0, 0.0]
    while (done := step / o.steps if o.steps else (time.time() - began) / o.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                o.lr
                * min(1, (step + 1) / 100)
                * (0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02)
            )
        pick = torch.randint(len(images), (o.batch,))
        x = images[pick].float() / 127.5 - 1  # the same arithmetic as the image processors
        if done < o.warm:  # first the tower alone
            tower(x) if family != "chat" else tower(pixel_values=x)
            loss = torch.zeros(())
        else:
            version = torch.randint(ids.shape[1], (o.batch,))
            loss = caption_loss(model, family, x, ids[pick, version], labels[pick, version])
        aux = (
            patch_loss(head(seen["tokens"][:, -GRID * GRID :]), classes[pick])
            if o.dense
            else torch.zeros(())
        )
        optimizer.zero_grad(set_to_none=True)
        (loss + o.dense * aux).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        smooth = [0.97 * s + 0.03 * v.item() for s, v in zip(smooth, (loss, aux))]
        if step % 200 == 0:
            print(
                f"  step {step}  {time.time() - began:.0f} s  caption {smooth[0]:.3f}  patches {smooth[1]:.3f}",
                flush=True,
            )
    tower._forward_hooks.clear()
    model.generation_config.update(
        bos_token_id=1,
        eos_token_id=tok.eos_token_id,
        pad_token_id=0,
        max_new_tokens=32,
        **({"decoder_start_token_id": 1} if family == "ved" else {}),
    )
    return (
        model.eval(),
        parts,
        {
            "steps": step,
            "images_seen": step * o.batch,
            "train_seconds": round(time.time() - began),
            "cpu_seconds": round(time.process_time()),
        },
    )


def save(model, parts, out, facts):
    os.makedirs(out, exist_ok=True)
    for part in (model, *parts):
        part.save_pretrained(out)
    with open(os.path.join(out, "training.json"), "w") as f:
        json.dump(facts, f, indent=1)
    for name in os.listdir(out):  # transformers 5 writes the weights with mode 0600
        os.chmod(os.path.join(out, name), 0o644)


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--family", choices=list(BUILD), required=True)
    p.add_argument("--out", required=True)
    for name, default, text in (
        ("seconds", 300.0, "time to train"),
        ("steps", 0, "train for so many steps, whatever the time"),
        ("pool", 24000, "pictures to draw"),
        ("batch", 64, ""),
        ("lr", 1e-3, ""),
        ("warm", 0.3, "share of the time given to the vision tower alone"),
        ("dense", 1.0, "weight of the patch loss; 0 with --warm 0 turns it off"),
        ("threads", 1, ""),
        ("seed", 0, ""),
        ("init", "", "go on from this folder of the same family, with --warm 0"),
    ):
        p.add_argument("--" + name, type=type(default), default=default, help=text)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    model, parts, facts = train(o)
    save(model, parts, o.out, {**vars(o), **facts, "out": os.path.basename(o.out)})
    from evaluate import Captioner, exact_match

    print(json.dumps({**facts, **exact_match(Captioner(o.out), o.family, 200)}), flush=True)


if __name__ == "__main__":
    main()
