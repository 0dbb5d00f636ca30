"""Training rows of the loop's kind: unit length, clustered, few positives, duplicates and near-duplicates."""

import torch
from torch.nn import functional as F

from seekloop.contracts.records import TrainingRows


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


def problem(size, dim, seed, positives=0.3, spread=1.0):
    """Rows (size, dim) and labels (size): a shared mean, a class direction, a tenth of the rows twice."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.where(torch.rand(size, generator=rng) < positives, 1.0, -1.0)
    labels[0], labels[1:6] = 1.0, -1.0
    mean, direction = torch.randn(2, dim, generator=rng)
    rows = mean + 0.2 * labels[:, None] * direction + spread * torch.randn(size, dim, generator=rng)
    again = size // 10
    if again:
        rows[-again:], labels[-again:] = rows[:again], labels[:again]  # the same row twice
        rows[-again // 2 :] += 1e-4 * torch.randn(again - again // 2, dim, generator=rng)[: len(rows[-again // 2 :])]
    return F.normalize(rows, dim=1), labels


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
