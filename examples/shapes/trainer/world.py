"""The world the toy captioners know: colored shapes on plain backgrounds, drawn and described.

One combination of colors, shapes and relation in ten is never trained on (see `held_out`).
"""

import itertools
import math
import zlib

from PIL import Image, ImageDraw

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
