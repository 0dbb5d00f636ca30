"""Training rows of the loop's kind: unit length, clustered, few positives, duplicates and near-duplicates."""

import torch

from seekloop.contracts.records import TrainingRows
from seekloop.testing import problem

__all__ = ["batch", "pick", "problem", "problems"]


def batch(rows, labels, weights=None, query=None):
    """One padded batch of lists of rows; `labels` are lists of +1 and -1."""
    sizes = [len(part) for part in labels]
    width, dim = max(sizes), len(rows[0][0])
    table = torch.zeros(len(sizes), width, dim)
    answer, weight = torch.zeros(len(sizes), width), torch.zeros(len(sizes), width)
    for q, n in enumerate(sizes):
        table[q, :n] = torch.as_tensor(rows[q], dtype=torch.float32)
        answer[q, :n] = torch.as_tensor(labels[q], dtype=torch.float32)
        weight[q, :n] = 1.0 if weights is None else torch.as_tensor(weights[q], dtype=torch.float32)
    first = table[:, 0] if query is None else torch.as_tensor(query, dtype=torch.float32)
    return TrainingRows.padded(table, answer, weight, answer != 0, first)


def problems(sizes, dim, seed=0, **kind):
    """A batch of random problems of these sizes."""
    parts = [problem(size, dim, seed + q, **kind) for q, size in enumerate(sizes)]
    return batch([rows for rows, _ in parts], [labels.tolist() for _, labels in parts])


def pick(rows, queries):
    """Some queries of a batch, without the padding that they no longer need."""
    width = int(rows.mask[queries].sum(1).max())
    return TrainingRows.padded(
        rows.rows[queries, :width],
        rows.labels[queries, :width],
        rows.weights[queries, :width],
        rows.mask[queries, :width],
        rows.query[queries],
    )
