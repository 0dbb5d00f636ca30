"""Which features make a good graph? Label propagation from 20 labels over features of several origins.

python experiments/learning/graphs.py <MNIST> --output experiments/learning/graphs.csv [--pretrained weights.pt]

Splits 3 to 5, which no table of runs reports. The network has an eighth of the channels, as the weights must; training
is 1,000 batches of 10 labelled images, rate 0.2 along a cosine.
"""

import argparse
import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.learning import Dataset, Network, PseudoLabels
from seekloop.contracts.randomness import generator
from seekloop.descriptors.whitening import whitened
from seekloop.graphs.propagation import LabelPropagation
from seekloop.images.datasets import Mnist
from seekloop.learning.batches import batches_of, labelled_epoch
from seekloop.learning.descent import cosine
from seekloop.learning.splits import balanced, revealed
from seekloop.training.conv13 import Conv13
from seekloop.training.fitting import load_features
from seekloop.training.views import Pictures, features_of

BATCHES, AVERAGED = 1000, 0.99
PRECISION = "bf16-mixed"


def trained(dataset: Dataset, labels: Tensor) -> tuple[Network, Network]:
    """Train a network on labelled images alone; give it, and the moving average of its weights."""
    torch.manual_seed(0)
    network, pictures, rng = Conv13(divisor=8).build(10, 0), Pictures(dataset.train.images, dataset), generator(0)
    average = copy.deepcopy(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=2e-4)
    ones = torch.ones(len(labels))
    images = labelled_epoch((labels >= 0).nonzero()[:, 0], 10, BATCHES, rng)
    batches = batches_of(images, PseudoLabels(labels, ones), ones, dataset.shift, dataset.flips, rng)
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = cosine(0.2, 200 * step / BATCHES, 210)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(network(pictures(batch, False)), batch.target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        share = min(AVERAGED, step / (step + 1))
        for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            mean.copy_(mean * share + now * (1 - share) if mean.is_floating_point() else now)
    return network, average


def untrained(dataset: Dataset) -> Iterator[tuple[str, Tensor]]:
    """Features that need no label."""
    pictures = Pictures(dataset.train.images, dataset)
    yield "pixels", dataset.train.images[:, 0].flatten(1).float()
    network = Conv13(divisor=8).build(10, 0)
    yield "random network, as built", features_of(network, pictures, 100, PRECISION)
    with torch.inference_mode():
        network.train()
        for pixels in list(pictures.blocks(100, None))[:20]:
            network(pixels)
    yield "random network, statistics of batches", features_of(network, pictures, 100, PRECISION)


def main() -> None:
    """Compute, write, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("root", type=Path)
    asked.add_argument("--output", type=Path, required=True)
    asked.add_argument("--pretrained", type=Path)
    given = asked.parse_args()
    torch.set_num_threads(1)
    dataset = Mnist(root=given.root, images=10000, test_images=2000).load()
    pictures, truth, rows = Pictures(dataset.train.images, dataset), dataset.train.labels, []
    splits = {split: revealed(truth, balanced(truth, 10, 20, generator(0, split, "initial"))) for split in (3, 4, 5)}

    def measure(name: str, features: Tensor, split: int) -> None:
        labels = splits[split]
        for neighbours in (10, 50):
            found = LabelPropagation(neighbours=neighbours)(features, labels, 10)
            right = float((found.labels == truth)[labels < 0].float().mean())
            rows.append({"features": name, "split": split, "neighbours": neighbours, "right": right})
        print(rows[-2], rows[-1], flush=True)

    fixed = list(untrained(dataset))
    if given.pretrained is not None:
        network = Conv13(divisor=8).build(10, 0)
        load_features(network, given.pretrained)
        fixed.append(("pre-trained", features_of(network, pictures, 100, PRECISION)))
        fixed.append(("pre-trained, whitened", whitened(fixed[-1][1], fixed[-1][1].shape[1])))
    for name, features in fixed:
        for split in splits:
            measure(name, features, split)
    moves = {"as the thesis": {}, "not mirrored": {"flips": False}, "not moved": {"flips": False, "shift": 0}}
    for how, change in moves.items():
        for split, labels in splits.items():
            network, average = trained(replace(dataset, **change), labels)
            measure(f"trained, {how}", features_of(network, pictures, 100, PRECISION), split)
            measure(f"trained, {how}, averaged weights", features_of(average, pictures, 100, PRECISION), split)
    table = pd.DataFrame(rows)
    table.to_csv(given.output, index=False, float_format="%.4f")
    print(table.pivot_table("right", "features", "neighbours", ["mean", "min", "max"], sort=False).round(3).to_string())


if __name__ == "__main__":
    main()
