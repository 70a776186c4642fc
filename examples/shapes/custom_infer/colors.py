"""A captioner of one's own, without weights: it names the colors that fill the picture."""

from collections import Counter

from captionfleet import CustomModel

NAMES = {
    "white": (255, 255, 255), "gray": (160, 160, 160), "black": (20, 20, 20),
    "red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 210),
    "yellow": (240, 210, 40), "purple": (140, 50, 170), "cyan": (170, 230, 240),
}  # fmt: skip


class Colors(CustomModel):
    def load(self):
        self.smallest_share = 0.02

    def infer(self, image):
        pixels = list(image.resize((48, 48)).get_flattened_data())
        counted = Counter(min(NAMES, key=lambda name: distance(NAMES[name], p)) for p in pixels)
        seen = [n for n, k in counted.most_common(3) if k > self.smallest_share * len(pixels)]
        return "mostly " + seen[0] + (" with " + " and ".join(seen[1:]) if seen[1:] else "")


def distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
