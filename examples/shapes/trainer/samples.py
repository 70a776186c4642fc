#!/usr/bin/env python3
"""Draw the sample pictures and their ground truth:  python samples.py OUT   (fixed seed, always the same files)"""

import json
import os
import random
import sys

from language import PREFIX
from PIL import Image
from world import describe, draw, fresh, held_out

SIZES = (
    (256, 256),
    (320, 320),
    (384, 256),
    (256, 384),
    (512, 512),
    (480, 320),
    (300, 300),
    (320, 480),
    (400, 300),
    (512, 384),
    (288, 288),
    (448, 448),
)
TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}  # how to store so that the tag undoes it


def pair(rng):
    """Two different things, so that the caption changes when the picture is turned."""
    while True:
        scene = fresh(rng, 1)[0]
        if scene["relation"] in ("above", "left of") and all(
            a != b for a, b in zip(scene["items"][0][:2], scene["items"][1][:2])
        ):
            return scene


def variety(rng):
    """Twelve scenes: two single shapes, two rows, eight pairs, a third of them combinations no model was trained on."""
    found = [*fresh(rng, 300), *(pair(rng) for _ in range(100))]

    def first(count, kind, unseen):
        return [
            s
            for s in found[300 if kind == 2 else 0 :]
            if len(s["items"]) == kind and held_out(s) == unseen
        ][:count]

    known, new, single, odd, rows = (
        first(5, 2, False),
        first(3, 2, True),
        first(1, 1, False),
        first(1, 1, True),
        first(2, 3, False),
    )
    return [
        *known[:2],
        *single,
        new[0],
        rows[0],
        *known[2:4],
        new[1],
        *odd,
        known[4],
        rows[1],
        new[2],
    ]


def truth(scene, **more):
    return {
        "background": scene["background"],
        "relation": scene["relation"],
        "held_out": held_out(scene),
        "shapes": [{"color": c, "shape": s} for c, s, *_ in scene["items"]],
        "captions": {
            k: describe(scene, k) for k in ("plain", "full", "terse", "list", "count", "colors")
        },
        "prefix_caption": f"{PREFIX} {describe(scene, 'list')}",
        **more,
    }


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x0110], tags[0x0132] = (
        orientation,
        "Example",
        "Shapes 1",
        "2026:01:02 03:04:05",
    )
    gps = tags.get_ifd(0x8825)
    gps.update({1: "N", 2: (51.0, 28.0, 40.0), 3: "W", 4: (0.0, 0.0, 5.0), 5: b"\x00", 6: 10.0})
    return tags


def main(out):
    os.makedirs(out, exist_ok=True)
    rng, facts = random.Random(2039), {}

    def keep(name, image, scene, note, **options):
        image.save(os.path.join(out, name), **options)
        facts[name] = truth(scene, note=note, stored_size=list(image.size))

    for i, (scene, size) in enumerate(zip(variety(rng), SIZES), 1):
        keep(
            f"shapes-{i:02d}.png", draw(scene, rng, *size)[0], scene, "plain picture", optimize=True
        )
    for orientation, turn in TURNS.items():
        scene = pair(rng)
        upright = draw(scene, rng, *((3000, 2000) if orientation == 3 else (2000, 3000)))[0]
        keep(
            f"photo-orientation-{orientation}.jpg",
            upright.transpose(turn),
            scene,
            f"EXIF orientation {orientation} and GPS position; the captions hold for the upright picture",
            quality=88,
            exif=exif(orientation),
        )
    scene = dict(pair(rng), background="white")
    keep(
        "transparent.png",
        draw(scene, rng, 320, 320, background=(0, 0, 0, 0))[0],
        scene,
        "transparent black background, white when laid on paper",
    )
    scene = pair(rng)
    keep("print-cmyk.jpg", draw(scene, rng, 480, 480)[0].convert("CMYK"), scene, "CMYK", quality=92)
    scene = pair(rng)
    keep(
        "palette.gif",
        draw(scene, rng, 300, 300)[0].convert("P", palette=Image.Palette.ADAPTIVE, colors=16),
        scene,
        "palette",
    )
    with open(os.path.join(out, "truth.json"), "w") as f:
        json.dump(facts, f, indent=1)
    for name in os.listdir(out):
        os.chmod(os.path.join(out, name), 0o644)


if __name__ == "__main__":
    main(sys.argv[1])
