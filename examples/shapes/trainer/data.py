"""Pictures and answers as tensors."""

import functools

import numpy as np
import torch
from families import GRID, PATCH, SIDE
from language import answer, question
from PIL import Image
from world import ASPECTS, BACKGROUNDS, COLORS, SHAPES, draw, fresh

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
