"""Accuracy of predictions and pseudo-labels. Here, and only here, the truth about unlabelled images is seen."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.learning import PseudoLabels


def confusion(truth: Int[Tensor, " n"], predicted: Int[Tensor, " n"], classes: int) -> Int[Tensor, "c c"]:
    """Count images of class i (row) that were taken for class j (column).

    Example:
        >>> confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)
        tensor([[1, 1],
                [0, 1]])
    """
    return torch.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: Int[Tensor, "c c"]) -> float:
    """Share of images on the diagonal; NaN where there are none."""
    return float(matrix.diag().sum() / matrix.sum())


def class_accuracy(matrix: Int[Tensor, "c c"]) -> Float[Tensor, " c"]:
    """Share of each class's images on the diagonal; NaN for a class without any."""
    return matrix.diag() / matrix.sum(dim=1)


def pseudo_label_measures(known: PseudoLabels, truth: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> dict[str, float]:
    r"""Measure pseudo-labels over the images that have no label.

    Returns:
        `pseudo_share` that have a pseudo-label; `pseudo_accuracy`, the share of those that is right;
        `pseudo_accuracy_weighted` :math:`\sum_i w_i 1[\hat y_i = y_i] / \sum_i w_i`; `weight_mean`, `weight_low`,
        `weight_high`: mean, 10 % and 90 % quantile of their weights. NaN where there are none.

    Args:
        known: labels and pseudo-labels of all images.
        truth: their classes.
        labels: the labels that were given; -1 elsewhere.
    """
    unlabelled = labels < 0
    has = unlabelled & (known.labels >= 0)
    weights, right = known.weights[has].double(), (known.labels == truth)[has].double()
    low, high = np.quantile(weights, (0.1, 0.9), method="nearest") if len(weights) else (np.nan, np.nan)
    return {
        "pseudo_share": float(has.sum() / unlabelled.sum()),
        "pseudo_accuracy": float(right.mean()),
        "pseudo_accuracy_weighted": float((weights * right).sum() / weights.sum()),
        "weight_mean": float(weights.mean()),
        "weight_low": float(low),
        "weight_high": float(high),
    }
