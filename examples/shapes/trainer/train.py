#!/usr/bin/env python3
"""Train one toy captioner (about 1M parameters) on drawn pictures of shapes, on a CPU, in minutes.

    python train.py --family ved|blip|git|chat --seconds 300 --out ../models/shapes-basic

The result is an ordinary Hugging Face folder (safetensors, processor, tokenizer) for
AutoModelForImageTextToText. What makes plain ViT towers learn in minutes is a throw-away head that
names, for every patch, what lies under it and its role in the scene.
"""

import argparse
import json
import math
import os
import random
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from data import KINDS, ROLES, encode, make_pool
from families import BUILD, GRID, WIDTH
from language import make_tokenizer


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
