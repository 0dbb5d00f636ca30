"""Train the built-in pair of an image and a text tower on scenes and their captions, within a budget of time.

    python experiments/tiny_clip/train.py --seconds 240 --output tiny_clip.safetensors

Worker processes render scenes of the training digits all the time; training begins with those that are there after
`--head-start` seconds, and draws its batches from all that there are.
"""

import argparse
import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from multiprocessing.queues import Queue
from pathlib import Path

import seekloop  # noqa: F401  (first: it makes timm importable where torch and torchvision do not match)

# isort: split

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.backbones.towers import PADDING, Towers
from seekloop.contracts.randomness import derived_seed
from seekloop.images.generated import captions
from seekloop.images.generated.captions import ANY, ATTRIBUTES, COLUMN, DIGIT, MOST, ROW
from seekloop.images.generated.scenes import Digits, arrange, digit_split, paint, photographs

SIDE, GRID = 128, 16  # pixels and patches of a view, per side
RENDERED = (128, 192, 256)  # sizes that scenes are drawn in before they are brought to a view
CHUNK = 64  # scenes that a worker hands over at once
BENT, BEND = 0.6, 4.0  # share of the scans that are bent; how far, in 32nds of a scan's side
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SINGLE, DOUBLE, LOCAL = 768, 256, 256  # captions of one digit and of two in a step; of one digit for each patch
# How often a caption names an attribute, in the order of ATTRIBUTES.
NAMED = (0.3, 0.4, 0.8, 0.25, 0.25)
RATE, WARM_UP, DECAY = 2e-3, 0.03, 0.05  # learning rate; share of the run; weight decay
CLASS_SCALE = 10.0  # of unit vectors, before they are classified
LEAST = 5  # right scenes of a caption that is validated
AVERAGING = 0.995  # share of the averaged weights that is kept at each step
WORD = {word: number for number, word in enumerate(captions.WORDS, start=1)}
SLOTS = 11  # words of a caption: five of each digit, and "and" between them


def architecture(width: int, depth: int, dim: int) -> dict[str, object]:
    """Arguments of `Towers`."""
    image = {
        "img_size": SIDE,
        "patch_size": SIDE // GRID,
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // 64,
        "class_token": True,
        "reg_tokens": 4,
        "num_classes": 0,
        "global_pool": "",
        "dynamic_img_size": True,
    }
    text = {"words": len(captions.WORDS), "length": SLOTS, "width": 128, "depth": 2, "heads": 4}
    return {"image": image, "text": text, "dim": dim}


def bent(digits: Digits, rng: np.random.Generator) -> Digits:
    """Digits of which some are bent: nine points of a scan are moved at random, and the rest follows them."""
    scans = digits.scans.copy()
    for which in np.flatnonzero(rng.random(len(scans)) < BENT):
        large = Image.fromarray(scans[which]).resize((32, 32), Image.Resampling.BICUBIC)
        corners = np.stack(np.meshgrid((0, 16, 32), (0, 16, 32)), axis=-1) + rng.uniform(-BEND, BEND, (3, 3, 2))
        mesh = [
            (
                (16 * x, 16 * y, 16 * x + 16, 16 * y + 16),
                (*corners[y, x], *corners[y + 1, x], *corners[y + 1, x + 1], *corners[y, x + 1]),
            )
            for y in (0, 1)
            for x in (0, 1)
        ]
        turned = large.transform((32, 32), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
        scans[which] = np.asarray(turned.reduce(4))
    return Digits(scans, digits.labels)


def scene(digits: Digits, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (3, 128, 128) of a scene, the attributes (4, 5) of its digits, and their boxes (4, 4)."""
    size = int(rng.choice(RENDERED))
    layers = arrange(digits, size, rng)
    picture = paint(layers, photographs(), size, rng)
    seen, where = captions.looks(picture, layers)
    attributes, boxes = np.full((MOST, len(ATTRIBUTES)), ANY), np.zeros((MOST, 4), dtype=np.float32)
    attributes[: len(seen)], boxes[: len(seen)] = seen.numpy(), where.numpy()
    view = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(view).transpose(2, 0, 1), attributes.astype(np.int8), boxes


def chunk(seed: int, number: int, straight: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some scenes, stacked; `straight`: of scans as they are."""
    rng = np.random.Generator(np.random.PCG64(derived_seed(seed, "tiny_clip", number)))
    digits = digit_split("training")
    digits = digits if straight else bent(digits, rng)
    pixels, attributes, boxes = zip(*(scene(digits, rng) for _ in range(CHUNK)), strict=True)
    return np.stack(pixels), np.stack(attributes), np.stack(boxes)


def render(seed: int, first: int, step: int, made: Queue) -> None:
    """Render chunk after chunk."""
    torch.set_num_threads(1)
    os.nice(10)  # the trainer goes first
    number = first
    while True:
        made.put(chunk(seed, number))
        number += step


class Pool:
    """Scenes in the memory of the device; they become more while a thread takes what the workers have made."""

    def __init__(self, most: int, device: torch.device) -> None:
        self.pixels = torch.empty(most, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
        self.attributes = torch.empty(most, MOST, len(ATTRIBUTES), dtype=torch.int8, device=device)
        self.boxes = torch.empty(most, MOST, 4, device=device)
        self.there, self.most = 0, most

    def add(self, pixels: np.ndarray, attributes: np.ndarray, boxes: np.ndarray) -> None:
        """Append a chunk; where there is no room, in place of the oldest."""
        rows = (torch.arange(len(pixels)) + self.there) % self.most
        rows = rows.to(self.pixels.device)
        for held, new in ((self.pixels, pixels), (self.attributes, attributes), (self.boxes, boxes)):
            held[rows] = torch.from_numpy(new).to(held.device)
        self.there += len(pixels)

    def fill(self, made: Queue) -> None:
        """Take chunks for ever."""
        while True:
            self.add(*made.get())

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels in [0, 1], attributes and boxes of scenes drawn at random."""
        rows = torch.randint(min(self.there, self.most), (size,), device=self.pixels.device)
        return self.pixels[rows].float() / 255, self.attributes[rows].long(), self.boxes[rows]


def normalised(pixels: Tensor) -> Tensor:
    """Pixels as the network expects them."""
    mean, std = (torch.tensor(value, device=pixels.device)[:, None, None] for value in (MEAN, STD))
    return (pixels - mean) / std


def draw_conditions(attributes: Tensor, count: int) -> Tensor:
    """Conditions (count, 5) that name some attributes of digits of the batch, at least one each."""
    there = attributes.flatten(0, 1)
    there = there[there[:, DIGIT] != ANY]
    chosen = there[torch.randint(len(there), (count,), device=there.device)]
    wanted = torch.rand(chosen.shape, device=chosen.device) < torch.tensor(NAMED, device=chosen.device)
    wanted[:, COLUMN] = torch.where(torch.rand(count, device=chosen.device) < 0.5, wanted[:, ROW], wanted[:, COLUMN])
    conditions = captions.named(chosen, wanted)
    nothing = (conditions == ANY).all(dim=1)
    conditions[:, DIGIT] = torch.where(nothing, chosen[:, DIGIT], conditions[:, DIGIT])
    return conditions


def draw_captions(attributes: Tensor) -> Tensor:
    """Captions (c, 2, 5) true of scenes of the batch: first those of one digit, then those of two of one scene."""
    single = draw_conditions(attributes, SINGLE)
    other = attributes[:, 1, DIGIT]
    several = attributes[(other != ANY) & (other != attributes[:, 0, DIGIT])]
    pairs = several[torch.randint(len(several), (DOUBLE,), device=several.device)]
    first, second = (draw_conditions_of(pairs[:, row]) for row in (0, 1))
    swapped = torch.rand(DOUBLE, 1, device=first.device) < 0.5
    double = torch.stack([torch.where(swapped, second, first), torch.where(swapped, first, second)], dim=1)
    alone = torch.stack([single, torch.full_like(single, ANY)], dim=1)
    return torch.cat([alone, double])


def draw_conditions_of(chosen: Tensor) -> Tensor:
    """Conditions that name the digit of each row and perhaps its size or colour."""
    wanted = torch.rand(chosen.shape, device=chosen.device) < 0.35
    wanted[:, DIGIT], wanted[:, ROW], wanted[:, COLUMN] = True, False, False
    return captions.named(chosen, wanted)


def words_of(drawn: Tensor) -> Tensor:
    """Words of captions (c, 2, 5) as numbers (c, 11): those of each digit in any order, "and" between them."""
    numbers = torch.full((len(ATTRIBUTES), 12), PADDING, device=drawn.device)
    for row, names in enumerate(captions.NAMES):
        numbers[row, : len(names)] = torch.tensor([WORD[name] for name in names], device=drawn.device)
    said = numbers[torch.arange(len(ATTRIBUTES), device=drawn.device), drawn.clamp(min=0)]
    said = torch.where(drawn == ANY, PADDING, said)
    twice = said[..., ROW] == said[..., COLUMN]  # the centre
    said[..., COLUMN] = torch.where(twice, PADDING, said[..., COLUMN])
    said = said.gather(2, torch.rand(said.shape, device=said.device).argsort(dim=2))
    both = (drawn[:, 1] != ANY).any(dim=1, keepdim=True)
    joined = torch.cat([said[:, 0], torch.where(both, WORD["and"], PADDING), said[:, 1]], dim=1)
    return joined.gather(1, (joined == PADDING).long().argsort(dim=1, stable=True))


def patch_digits(boxes: Tensor, attributes: Tensor) -> Tensor:
    """Which digit covers each patch, (b, 256): the one in front where there are two, 4: none, 5: a box's edge."""
    edges = torch.arange(GRID + 1, device=boxes.device) / GRID
    centres = (edges[:-1] + edges[1:]) / 2
    inside, touched = [], []
    for values, low, high in ((inside, centres, centres), (touched, edges[1:], edges[:-1])):
        columns = (low >= boxes[..., :1]) & (high < boxes[..., 2:3])
        rows = (low >= boxes[..., 1:2]) & (high < boxes[..., 3:])
        area = (rows[..., :, None] & columns[..., None, :]).flatten(2)
        values.append(area & (attributes[..., DIGIT] != ANY)[..., None])
    front = torch.arange(1, MOST + 1, device=boxes.device)[:, None]
    digit = (inside[0] * front).amax(dim=1) - 1
    return torch.where(digit >= 0, digit, torch.where(touched[0].any(dim=1), MOST + 1, MOST))


def patch_weights(digit: Tensor) -> Tensor:
    """Weights of the patches (b, 256): every digit counts alike, and the ground as much as one digit."""
    one = F.one_hot(digit, MOST + 2).float()
    counts = one.sum(dim=1, keepdim=True).clamp(min=1)
    weights = (one / counts)[..., : MOST + 1].sum(dim=-1)
    return weights / weights.sum()


class Objective(nn.Module):
    """Sigmoid loss over all pairs of an image, or a part of it, and a caption (Zhai et al., SigLIP, ICCV 2023, 3.2).

    Not one caption is right for an image, but all that hold of it. Scale and bias are common to all parts, so that
    their cosines can be compared.

    Beside it, every patch is classified: its digit, or the ground.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classes = nn.Linear(dim, len(captions.DIGITS) + 1)
        self.scale, self.bias = nn.Parameter(torch.tensor(math.log(10.0))), nn.Parameter(torch.tensor(-4.0))

    def pairs(self, cosines: Tensor, right: Tensor) -> Tensor:
        """Loss of each pair."""
        return F.binary_cross_entropy_with_logits(
            self.scale.exp() * cosines + self.bias, right.float(), reduction="none"
        )

    def forward(self, towers: Towers, pixels: Tensor, attributes: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Terms: the whole image, its best cell of 4 x 4 and of 8 x 8, and each patch."""
        drawn = draw_captions(attributes)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
            whole, patches = towers.image(normalised(pixels))
            texts = towers.text(words_of(drawn))
        right = captions.relevant(drawn, attributes)
        terms = {"whole": self.pairs(whole @ texts.mT, right).mean()}
        for cells in (4, 8):
            best = cell_vectors(patches, cells) @ texts[:SINGLE].mT
            terms[f"cells_{cells}"] = self.pairs(best.amax(dim=1), right[:, :SINGLE]).mean()
        digit = patch_digits(boxes, attributes)
        holds = captions.shows(drawn[:LOCAL, 0], attributes)  # (b, 4, c)
        holds = F.pad(holds, (0, 0, 0, 2))
        each = holds.gather(1, digit[..., None].expand(-1, -1, LOCAL))
        losses = self.pairs(patches @ texts[:LOCAL].mT, each).mean(dim=-1)
        weights = patch_weights(digit)
        terms["patches"] = (losses * weights).sum()
        ground = attributes.new_full((len(attributes), 2), len(captions.DIGITS))
        labels = torch.cat([attributes[..., DIGIT].clamp(min=0), ground], dim=1).gather(1, digit)
        wrong = F.cross_entropy(self.classes(CLASS_SCALE * patches).flatten(0, 1), labels.flatten(), reduction="none")
        terms["classes"] = 0.2 * (wrong * weights.flatten()).sum()
        return terms


def cell_vectors(patches: Tensor, cells: int) -> Tensor:
    """Means of the patches' vectors in each cell of a grid, (b, cells^2, d), of unit length."""
    maps = patches.unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)
    return F.normalize(F.avg_pool2d(maps, GRID // cells).flatten(2).mT, dim=-1)


def optimizers(towers: Towers, objective: Objective) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the image tower's blocks, AdamW for all else."""
    matrices = [weight for weight in towers.image.trunk.blocks.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in (*towers.parameters(), *objective.classes.parameters()) if id(weight) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=RATE / 2, weight_decay=DECAY / 2, betas=(0.9, 0.98)),
        torch.optim.AdamW([objective.scale, objective.bias], lr=2 * RATE, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def ticks(seconds: float, device: torch.device) -> Iterator[tuple[int, float]]:
    """Numbers of steps, and the share of the time that is over, until it is."""
    began, step = time.perf_counter(), 0
    while (share := (time.perf_counter() - began) / seconds) < 1:
        yield step, share
        step += 1
        if device.type == "cuda" and step % 8 == 0:
            torch.cuda.synchronize()


def train(arguments: argparse.Namespace, pool: Pool, began: float) -> tuple[Towers, int]:
    """Train until the time is over; the averaged towers, and the number of steps."""
    device = pool.pixels.device
    torch.manual_seed(arguments.seed)
    towers = Towers(**architecture(arguments.width, arguments.depth, arguments.dim)).to(device)
    objective, average = Objective(arguments.dim).to(device), deepcopy(towers).requires_grad_(False)
    several, step = optimizers(towers, objective), 0
    rates = [group["lr"] for each in several for group in each.param_groups]
    for step, share in ticks(arguments.seconds - (time.perf_counter() - began), device):
        factor = min(share / WARM_UP, 1.0, 0.5 * (1 + math.cos(math.pi * share)) + 0.002) + 1e-4
        for group, rate in zip((g for each in several for g in each.param_groups), rates, strict=True):
            group["lr"] = rate * factor
        terms = objective(towers, *pool.batch(arguments.batch))
        for each in several:
            each.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_([*towers.parameters(), *objective.parameters()], 1.0)
        for each in several:
            each.step()
        kept = min(AVERAGING, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(average.parameters()), [p.data for p in towers.parameters()], 1 - kept)
        if step % 1000 == 999:
            save(average, arguments.output, arguments)
        if step % arguments.every == 0:
            shown = " ".join(f"{name} {term.item():.4f}" for name, term in terms.items())
            scale, bias = objective.scale.exp().item(), objective.bias.item()
            print(
                f"{time.perf_counter() - began:6.1f} s  step {step}  scenes {pool.there}  {shown}  "
                f"scale {scale:.1f} bias {bias:.1f}",
                flush=True,
            )
    return average, step + 1


@torch.inference_mode()
def validate(towers: Towers, pixels: Tensor, attributes: Tensor, _boxes: Tensor) -> dict[str, dict[str, float]]:
    """MAP of captions of every kind over fresh scenes of the training digits, by the whole image and the best cell."""
    attributes = attributes.long()
    parts = [towers.image(normalised(some.float() / 255)) for some in pixels.split(64)]
    whole, patches = (torch.cat(several) for several in zip(*parts, strict=True))
    found = {}
    for kind in captions.KINDS:
        drawn = captions.captions_of(kind, attributes.cpu(), LEAST).to(pixels.device)
        if not len(drawn):
            continue
        right = captions.relevant(drawn, attributes)
        texts = towers.text(words_of(drawn))
        scores = {
            "whole": whole @ texts.mT,
            "cells_4": (cell_vectors(patches, 4) @ texts.mT).amax(dim=1),
        }
        scores["both"] = torch.maximum(scores["whole"], scores["cells_4"])
        found[kind] = {"captions": len(drawn), "chance": float(right.float().mean())}
        found[kind] |= {name: mean_average_precision(one, right) for name, one in scores.items()}
    return found


def mean_average_precision(scores: Tensor, right: Tensor) -> float:
    """Mean over captions of the finite-sum average precision."""
    ordered = right.gather(0, scores.argsort(dim=0, descending=True)).float()
    ranks = torch.arange(1, len(ordered) + 1, device=ordered.device)[:, None]
    precision = ordered.cumsum(dim=0) / ranks
    return float(((precision * ordered).sum(dim=0) / ordered.sum(dim=0)).mean())


def save(towers: Towers, path: Path, arguments: argparse.Namespace) -> None:
    """Write weights in float16, with architecture, words and normalisation in the header."""
    words = WORD | {word: PADDING if same is None else WORD[same] for word, same in captions.SAME.items()}
    header = {
        "architecture": json.dumps(architecture(arguments.width, arguments.depth, arguments.dim)),
        "words": json.dumps(words),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().cpu().contiguous() for name, value in towers.state_dict().items()}, path, header)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file; a json of figures beside it")
    parser.add_argument("--seconds", type=float, default=240, help="for rendering and training together")
    parser.add_argument("--head-start", type=float, default=12, help="seconds of rendering before training begins")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--pool", type=int, default=400_000, help="most scenes in memory")
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--every", type=int, default=50, help="steps between two reports")
    parser.add_argument("--validation", type=int, default=2048, help="scenes, rendered before anything else")
    arguments = parser.parse_args()
    began = time.perf_counter()
    digit_split("training"), photographs()  # once, before the workers are forked
    context = multiprocessing.get_context("fork")
    with context.Pool(arguments.workers) as helpers:
        numbers = range(arguments.validation // CHUNK)
        fresh = helpers.starmap(chunk, [(arguments.seed + 1, number, True) for number in numbers])
    made: Queue = context.Queue(maxsize=4 * arguments.workers)
    workers = [
        context.Process(target=render, args=(arguments.seed, first, arguments.workers, made), daemon=True)
        for first in range(arguments.workers)
    ]
    for worker in workers:
        worker.start()
    device = torch.device(arguments.device)
    pool = Pool(arguments.pool, device)
    threading.Thread(target=pool.fill, args=(made,), daemon=True).start()
    while time.perf_counter() - began < arguments.head_start or not pool.there:
        time.sleep(0.2)
    towers, steps = train(arguments, pool, began)
    scenes = pool.there
    save(towers, arguments.output, arguments)
    for worker in workers:
        worker.terminate()
    print(f"{steps} steps, {scenes} scenes, {arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")
    figures = validate(
        towers.eval(), *(torch.from_numpy(np.concatenate(one)).to(device) for one in zip(*fresh, strict=True))
    )
    for kind, values in figures.items():
        print(kind, " ".join(f"{name} {value:.3f}" for name, value in values.items()))
    about = {"steps": steps, "scenes": scenes, "validation": figures}
    arguments.output.with_suffix(".json").write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
