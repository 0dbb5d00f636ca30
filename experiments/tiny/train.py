"""Train the built-in backbone `tiny` and write its weights.

    python experiments/tiny/train.py --photographs <VOC folder> <COCO folder> --teacher <resnet50.safetensors> \
        --thumbnails <CIFAR-10 folder> --output src/seekloop/backbones/tiny.safetensors

The checkpoint in the work folder is continued where there is one. Until the last part of the run the learning rate
is constant, so a run may be continued with another --steps and is then the same as one started with it.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import seekloop  # noqa: F401  (first: it makes timm importable where torch and torchvision do not match)

# isort: split

import torch
from photographs import SIDE as SQUARE
from photographs import read_squares, training_files
from safetensors.torch import save_file
from teacher import DIMENSIONS, TeacherMaps, cached_teacher_maps
from timm.layers import set_fused_attn
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from views import GRID, LabelledViews, photograph_views, read_thumbnails, scene_views, thumbnail_views
from whitening import whitened

ARCHITECTURE = {
    "img_size": 128,
    "patch_size": 8,
    "embed_dim": 192,
    "depth": 5,
    "num_heads": 3,
    "class_token": True,
    "reg_tokens": 4,
    "dynamic_img_size": True,
    "num_classes": 0,
    "global_pool": "",
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCHES, PREFIX = 256, 5  # patch tokens; the class token and the registers before them
# What a step looks at: first scattered patches (cheap, and they teach context), then square windows, in which small
# objects are whole.
SCATTERED, SCATTERED_STEPS, WINDOW = 80, 550, 9
LEAST_PRESENT = 2  # patches of a class that make it present
# Photographs, thumbnails and scenes in a batch, before and from a step on: digits are what takes longest to learn.
COUNTS, LATER_COUNTS, LATER = (24, 10, 14), (12, 4, 24), 600
COLLAGES = 0.4  # share of collages among the later scenes
RATE, WARM_UP, DECAY = 2e-3, 100, 0.25  # learning rate; steps; last share of the run
AVERAGING, LATER_AVERAGING = 0.995, 0.98  # share of the averaged weights that is kept at each step
SAVE_EVERY = 20
SAMPLED = 256  # views whose outputs are whitened in the end


@dataclass
class Material:
    """Everything that views are made of."""

    squares: Tensor
    maps: TeacherMaps
    thumbnails: Tensor
    thumbnail_labels: Tensor


class Heads(nn.ModuleDict):
    """Linear maps from tokens to the targets; thrown away after training."""

    def __init__(self, width: int) -> None:
        outputs = {"third": DIMENSIONS[0], "fourth": DIMENSIONS[1], "pooled": DIMENSIONS[1], "scenes": 11}
        outputs |= {"thumbnails": 10, "scenes_present": 10, "thumbnails_present": 10}
        super().__init__({name: nn.Linear(width, size) for name, size in outputs.items()})


def tokens(network: VisionTransformer, pixels: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Class token (x, d) and the kept patch tokens (x, k, d) of pixels in [0, 1]; `kept` is (x, k)."""
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    placed = network._pos_embed(network.patch_embed((pixels - mean) / std))
    rows = kept[..., None].expand(-1, -1, placed.shape[-1])
    hidden = torch.cat([placed[:, :PREFIX], placed[:, PREFIX:].gather(1, rows)], 1)
    final = network.norm(network.blocks(network.norm_pre(hidden)))
    return final[:, 0].float(), final[:, PREFIX:].float()


def scattered(count: int, rng: torch.Generator) -> Tensor:
    """Random patch numbers for each view, (x, k)."""
    return torch.rand(count, PATCHES, generator=rng).argsort(1)[:, :SCATTERED]


def windows(count: int, rng: torch.Generator) -> Tensor:
    """The patch numbers of a random square window for each view, (x, k)."""
    top, left = torch.randint(GRID - WINDOW + 1, (2, count, 1, 1), generator=rng)
    rows, columns = torch.arange(WINDOW)[:, None], torch.arange(WINDOW)[None]
    return ((top + rows) * GRID + left + columns).flatten(1)


def every(count: int) -> Tensor:
    """All patch numbers for each view, (x, k)."""
    return torch.arange(PATCHES).expand(count, -1)


def looked_at(step: int, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The patches that a step shows to the network, and those that the class token must tell about."""
    if step < SCATTERED_STEPS:
        return scattered(count, rng), every(count)
    shown = windows(count, rng)
    return shown, shown


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of one minus the cosine."""
    return 1 - F.cosine_similarity(predicted, target.float(), dim=-1).mean()


def at(values: Tensor, kept: Tensor) -> Tensor:
    """Values of the kept patches: (x, 16, 16, ...) to (x, k, ...)."""
    flat = values.flatten(1, 2)
    return torch.stack([row[places] for row, places in zip(flat, kept, strict=True)])


def labelled_losses(name: str, heads: Heads, views: LabelledViews, out: Sequence[Tensor]) -> dict[str, Tensor]:
    """Class of every patch shown, and presence of every class; `out` is one kind's part of what `losses` has."""
    summary, patches, shown, told = out
    scores, labels = heads[name](patches).flatten(0, 1), at(views.patches, shown).flatten()
    weights = torch.ones(scores.shape[1])
    weights[10:] = 0.4  # background is the most frequent label by far
    counts = F.one_hot(at(views.patches, told), 11).sum(1)[:, :10]
    present = F.binary_cross_entropy_with_logits(heads[name + "_present"](summary), (counts >= LEAST_PRESENT).float())
    return {name: F.cross_entropy(scores, labels, weights), name + "_present": 3 * present}


def losses(network: VisionTransformer, heads: Heads, material: Material, step: int, seed: int) -> dict[str, Tensor]:
    """One batch of all three kinds of views, and every term of the objective."""
    rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
    counts = COUNTS if step < LATER else LATER_COUNTS
    photos = photograph_views(material.squares, material.maps, counts[0], rng)
    tiles = thumbnail_views(material.thumbnails, material.thumbnail_labels, counts[1], rng)
    scenes = scene_views(counts[2], COLLAGES if step >= LATER else 0.0, rng)
    pixels = torch.cat([photos.pixels, tiles.pixels, scenes.pixels])
    shown, told = looked_at(step, len(pixels), rng)
    with torch.autocast("cpu", torch.bfloat16):
        summary, patches = tokens(network, pixels, shown)
    parts = [values.split(counts) for values in (summary, patches, shown, told)]
    (own, own_patches, own_shown, own_told), of_tiles, of_scenes = zip(*parts, strict=True)
    return {
        "third": cosine_loss(heads["third"](own_patches), at(photos.third, own_shown)),
        "fourth": cosine_loss(heads["fourth"](own_patches), at(photos.fourth, own_shown)),
        "pooled": cosine_loss(heads["pooled"](own), at(photos.fourth, own_told).mean(1)),
        **labelled_losses("thumbnails", heads, tiles, of_tiles),
        **labelled_losses("scenes", heads, scenes, of_scenes),
    }


def optimizers(network: VisionTransformer, heads: Heads) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else."""
    matrices = [weight for weight in network.blocks.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in (*network.parameters(), *heads.parameters()) if id(weight) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=RATE, weight_decay=0.02, betas=(0.9, 0.98)),
    ]


def rate(step: int, steps: int) -> float:
    """Learning rate as a share of its highest: a ramp up, level, and a ramp down to zero."""
    return min((step + 1) / WARM_UP, (steps - step) / (DECAY * steps), 1.0)


def new_run(seed: int) -> tuple[dict[str, nn.Module], list[torch.optim.Optimizer]]:
    """Network, running average and heads, initialised from the seed, and their optimizers."""
    torch.manual_seed(seed)
    network = VisionTransformer(**ARCHITECTURE)
    modules = {"network": network, "heads": Heads(ARCHITECTURE["embed_dim"]), "average": deepcopy(network)}
    return modules, optimizers(network, modules["heads"])


def save(path: Path, step: int, modules: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> None:
    """Write all that a run needs to go on, then put it in place of the last checkpoint."""
    state = {name: module.state_dict() for name, module in modules.items()}
    unfinished = path.with_suffix(".part")
    torch.save({"step": step, **state, "optimizers": [each.state_dict() for each in optimizers]}, unfinished)
    unfinished.replace(path)


def restore(path: Path, modules: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> int:
    """Read a checkpoint, if there is one; the first step to take."""
    if not path.exists():
        return 0
    state = torch.load(path)
    for name, module in modules.items():
        module.load_state_dict(state[name])
    for each, values in zip(optimizers, state["optimizers"], strict=True):
        each.load_state_dict(values)
    return int(state["step"])


def train(arguments: argparse.Namespace, material: Material) -> VisionTransformer:
    """Run to the last step, or to the one to stop at; the averaged network."""
    modules, optimizers = new_run(arguments.seed)
    checkpoint = arguments.work / "checkpoint.pt"
    last = arguments.stop or arguments.steps
    for step in range(restore(checkpoint, modules, optimizers), last):
        began = time.perf_counter()
        terms = losses(modules["network"], modules["heads"], material, step, arguments.seed)
        advance(sum(terms.values()), optimizers, rate(step, arguments.steps))
        follow(modules["average"], modules["network"], averaging(step))
        report(step, terms, time.perf_counter() - began)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == last:
            save(checkpoint, step + 1, modules, optimizers)
    return modules["average"]


def averaging(step: int) -> float:
    """Share of the running average that is kept: the first weights are soon forgotten."""
    return min(AVERAGING if step < LATER else LATER_AVERAGING, (step + 1) / (step + 10))


def advance(loss: Tensor, optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """One step of every optimizer at a share of the learning rate, gradients limited to a norm of 3."""
    for each in optimizers:
        each.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([weight for each in optimizers for weight in weights(each)], 3.0)
    for each in optimizers:
        for group in each.param_groups:
            group["lr"] = RATE * share
        each.step()


def weights(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """All parameters of an optimizer."""
    for group in optimizer.param_groups:
        yield from group["params"]


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move the running average towards the network."""
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - share)


def report(step: int, terms: dict[str, Tensor], seconds: float) -> None:
    """Every tenth step, one line with all terms."""
    if step % 10 == 0:
        values = " ".join(f"{name} {term.item():.3f}" for name, term in terms.items())
        print(f"step {step} {values} seconds {seconds:.2f}", flush=True)


@torch.no_grad()
def sampled_outputs(network: VisionTransformer, material: Material, rng: torch.Generator) -> Tensor:
    """What the last LayerNorm gives before its gain and bias: means of 4 x 4 cells, and class tokens."""
    bare = deepcopy(network)
    nn.init.ones_(bare.norm.weight)
    nn.init.zeros_(bare.norm.bias)
    rows = []
    for views in (
        photograph_views(material.squares, material.maps, SAMPLED // 2, rng),
        thumbnail_views(material.thumbnails, material.thumbnail_labels, SAMPLED // 4, rng),
        scene_views(SAMPLED // 4, 0.0, rng),
    ):
        summary, patches = tokens(bare, views.pixels, every(len(views.pixels)))
        cells = patches.unflatten(1, (4, 4, 4, 4)).mean((2, 4)).flatten(0, 2)
        rows += [cells, summary.repeat(4, 1)]
    return torch.cat(rows)


def export(network: VisionTransformer, path: Path) -> None:
    """Write float16 weights with what is needed to rebuild the network."""
    state = {name: weight.half().contiguous() for name, weight in network.state_dict().items()}
    facts = {"architecture": ARCHITECTURE, "mean": MEAN, "std": STD}
    save_file(state, path, {name: json.dumps(value) for name, value in facts.items()})
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the built-in backbone `tiny`.")
    parser.add_argument("--photographs", type=Path, nargs="+", required=True, help="folders with *.jpg below them")
    parser.add_argument("--teacher", type=Path, required=True, help="ResNet-50 weights, timm's names, safetensors")
    parser.add_argument("--thumbnails", type=Path, required=True, help="folder with CIFAR-10 as sheets")
    parser.add_argument("--output", type=Path, required=True, help="weights to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the teacher's maps")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--stop", type=int, help="steps after which to stop, on the schedule of --steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    set_fused_attn(False)  # plain attention is the faster one for so few tokens on a CPU
    files = training_files(arguments.photographs)
    maps = cached_teacher_maps(arguments.work / "teacher.pt", arguments.teacher, files)
    material = Material(read_squares(files, SQUARE), maps, *read_thumbnails(arguments.thumbnails))
    network = train(arguments, material)
    rng = torch.Generator().manual_seed(arguments.seed)
    export(whitened(network, sampled_outputs(network, material, rng)), arguments.output)


if __name__ == "__main__":
    main()
