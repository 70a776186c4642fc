#!/usr/bin/env python3
"""Exact match, latency, load time and size of trained folders:  python evaluate.py models/*  [--count 500]"""

import argparse
import inspect
import json
import os
import random
import time

import torch
import transformers as hf
from language import PREFIX, PROMPTS, answer
from world import draw, fresh

FAMILY = {"vision-encoder-decoder": "ved", "blip": "blip", "git": "git", "idefics3": "chat"}
SIZES = ((256, 256), (384, 256), (256, 384), (320, 240), (320, 320))


class Captioner:
    """The same few rules for every family: chat template, text prefix, or the picture alone."""

    def __init__(self, path):
        began, kw = time.time(), dict(local_files_only=True, trust_remote_code=False)
        self.kind = hf.AutoConfig.from_pretrained(path, **kw).model_type
        self.model = hf.AutoModelForImageTextToText.from_pretrained(
            path, dtype=torch.float32, **kw
        ).eval()
        processor = hf.AutoProcessor.from_pretrained(path, **kw)
        if (
            getattr(processor, "image_processor", None) is None
        ):  # VisionEncoderDecoder: only the tokenizer comes back
            self.processor, self.tokenizer, self.images = (
                None,
                processor,
                hf.AutoImageProcessor.from_pretrained(path, **kw),
            )
        else:
            self.processor, self.tokenizer, self.images = (
                processor,
                processor.tokenizer,
                processor.image_processor,
            )
        self.chat = getattr(self.processor, "chat_template", None) is not None
        self.tokenizer.padding_side = "left"
        self.accepts = set(inspect.signature(self.model.forward).parameters)
        self.load_seconds = time.time() - began

    @torch.inference_mode()
    def caption(self, images, prompt=""):
        prompts = prompt if isinstance(prompt, list) else [prompt] * len(images)
        if self.chat:
            turns = [
                [
                    {
                        "role": "user",
                        "content": [{"type": "image", "image": i}, {"type": "text", "text": p}],
                    }
                ]
                for i, p in zip(images, prompts)
            ]
            x = self.processor.apply_chat_template(
                turns,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        elif any(prompts):
            x = self.processor(images=images, text=prompts, return_tensors="pt", padding=True)
        else:
            x = self.images(images=images, return_tensors="pt")
        x = {k: v for k, v in x.items() if k in self.accepts}
        out = self.model.generate(**x, max_new_tokens=32, do_sample=False, num_beams=1)
        ids = x.get("input_ids")
        if self.chat and ids is not None and torch.equal(out[:, : ids.shape[1]], ids):
            out = out[
                :, ids.shape[1] :
            ]  # a chat model repeats its prompt; a text prefix is part of the caption
        return self.tokenizer.batch_decode(out, skip_special_tokens=True)


def tasks(family):
    """(name, prompt, what must come back) for each thing the family can do."""
    if family == "chat":
        return [
            (kind, PROMPTS[kind][0], lambda s, k=kind: answer(s, "chat", k)) for kind in PROMPTS
        ]
    both = [("caption", "", lambda s: answer(s, family, "terse" if family == "git" else "plain"))]
    return both + (
        [("prefix", PREFIX, lambda s: f"{PREFIX} {answer(s, family, 'list')}")]
        if family == "blip"
        else []
    )


def exact_match(captioner, family, count, wrong=None):
    """Share of captions that are right to the letter, on new pictures of trained and of held-out combinations."""
    result, rng = {}, random.Random(4321)
    for group, unseen in (("new", False), ("held_out", True)):
        scenes = fresh(rng, count, unseen)
        pictures = [draw(s, rng, *SIZES[i % len(SIZES)])[0] for i, s in enumerate(scenes)]
        for name, prompt, truth in tasks(family):
            right = 0
            for i in range(0, count, 50):
                said = captioner.caption(pictures[i : i + 50], prompt)
                for s, got in zip(scenes[i : i + 50], said):
                    right += got == truth(s)
                    if got != truth(s) and wrong is not None:
                        wrong.append((name, truth(s), got))
            result[f"{group}.{name}"] = round(right / count, 3)
    return result


def latency(captioner, family, size, repeat):
    """Milliseconds a picture in batches of `size`, the middle of `repeat` runs."""
    rng = random.Random(7)
    pictures = [draw(s, rng, 384, 384)[0] for s in fresh(rng, size)]
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        captioner.caption(pictures, tasks(family)[0][1])
        times.append(time.perf_counter() - began)
    return round(1000 * sorted(times)[len(times) // 2] / size, 1)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", nargs="+")
    p.add_argument("--count", type=int, default=500)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--show", type=int, default=3, help="mistakes to print")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    for folder in o.folders:
        captioner, wrong = Captioner(folder), []
        family = FAMILY[captioner.kind]
        row = {
            "model": os.path.basename(folder.rstrip("/")),
            "type": captioner.kind,
            "params": sum(p.numel() for p in captioner.model.parameters()),
            "MB": round(sum(e.stat().st_size for e in os.scandir(folder)) / 1e6, 2),
            "load_s": round(captioner.load_seconds, 2),
            **exact_match(captioner, family, o.count, wrong),
            "ms_b1": latency(captioner, family, 1, 9),
            "ms_b8": latency(captioner, family, 8, 5),
        }
        rng = random.Random(9)
        scenes = fresh(rng, 12)
        pictures = [draw(s, rng, *SIZES[i % len(SIZES)])[0] for i, s in enumerate(scenes)]
        prompts = (
            [tasks(family)[i % len(tasks(family))][1] for i in range(12)]
            if captioner.chat
            else [""] * 12
        )
        row["batch_equals_single"] = captioner.caption(pictures, prompts) == [
            captioner.caption([i], [p])[0] for i, p in zip(pictures, prompts)
        ]
        print(json.dumps(row), flush=True)
        for name, want, got in wrong[: o.show]:
            print(f"   {name}: want {want!r} got {got!r}")


if __name__ == "__main__":
    main()
