"""The linear scorer: the one kind that the loop can stream with a single matrix product."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.errors import StoreError
from seekloop.contracts.protocols import Aggregation, Scorer
from seekloop.contracts.records import Block

PLAIN = (Tensor, bool, int, float, str, type(None))
METHODS = ("scores", "of_block", "select", "join")


@dataclass(frozen=True)
class LinearScorer(Scorer):
    r"""Hyperplanes: :math:`f_q(x) = w_q \cdot x + b_q`.

    Attributes:
        weights: one normal per query.
        intercept: one per query.
        duals: dual variable of each training row, zero-padded, where the solver has them: its next warm start.
        anchor: scale of the anchor, where the classifier has one (`svm_anchored`).
    """

    weights: Float[Tensor, "q d"]
    intercept: Float[Tensor, " q"]
    duals: Float[Tensor, "q r"] | None = None
    anchor: Float[Tensor, " q"] | None = None

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values, whatever the images."""
        return torch.addmm(self.intercept[:, None], self.weights, descriptors.T)

    def of_block(self, block: Block, aggregation: Aggregation) -> Float[Tensor, "q b"]:
        """Decision values of images, by streamed products."""
        return aggregation.of_hyperplanes(block, self.weights, self.intercept)

    def select(self, queries: Int[Tensor, " k"]) -> "LinearScorer":
        """The hyperplanes of these queries; duals without the padding that only the others needed."""
        return LinearScorer(
            self.weights[queries],
            self.intercept[queries],
            None if self.duals is None else _without_padding(self.duals[queries]),
            None if self.anchor is None else self.anchor[queries],
        )

    def join(self, others: Sequence[Scorer]) -> "LinearScorer":
        """All hyperplanes in one."""
        parts = [self, *[other for other in others if isinstance(other, LinearScorer)]]
        return LinearScorer(
            torch.cat([p.weights for p in parts]),
            torch.cat([p.intercept for p in parts]),
            stack_padded([p.duals for p in parts if p.duals is not None]) if self.duals is not None else None,
            torch.cat([p.anchor for p in parts if p.anchor is not None]) if self.anchor is not None else None,
        )


def on_device(scorer: Scorer, device: str) -> Scorer:
    """The scorer with its tensors on a device, such as one that a checkpoint had on the CPU."""
    if not is_dataclass(scorer) or isinstance(scorer, type):
        return scorer
    parts = {field.name: getattr(scorer, field.name) for field in fields(scorer)}
    return replace(scorer, **{name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)})


def pack_scorer(scorer: Scorer | None) -> dict[str, Any] | None:
    """The scorer as its class's name and its tensors, to be kept in a file.

    Raises:
        TypeError: if it is no dataclass of tensors, numbers, text and None.
    """
    if scorer is None:
        return None
    kind = type(scorer)
    parts = {field.name: getattr(scorer, field.name) for field in fields(scorer)} if is_dataclass(scorer) else None
    if parts is None or not all(isinstance(part, PLAIN) for part in parts.values()):
        raise TypeError(f"{kind.__qualname__} cannot be kept: make the scorer a dataclass of tensors and numbers")
    return {"module": kind.__module__, "name": kind.__qualname__, "parts": parts}


def unpack_scorer(packed: Mapping[str, Any] | None) -> Scorer | None:
    """The opposite of `pack_scorer`: looks among the classes that are loaded already, imports and runs nothing else.

    Raises:
        StoreError: if there is no such scorer.
    """
    if packed is None:
        return None
    kind = sys.modules.get(packed["module"])
    for name in packed["name"].split("."):
        kind = getattr(kind, name, None)
    if not (isinstance(kind, type) and is_dataclass(kind) and all(hasattr(kind, name) for name in METHODS)):
        raise StoreError(f"the checkpoint is of {packed['name']}, which is no scorer here. force=true starts anew.")
    scorer: Scorer = kind(**packed["parts"])
    return scorer


def stack_padded(parts: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "q r"]:
    """Stack tables of different width, zeros on the right."""
    width = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])


def _without_padding(table: Float[Tensor, "q r"]) -> Float[Tensor, "q _"]:
    used = (table != 0).any(dim=0).nonzero()
    return table[:, : int(used[-1]) + 1 if len(used) else 0]
