"""Fusions of the global descriptor g with a local one l into the vector that is classified.

Source: Zaher, Buisson & Joly, arXiv 2604.00809, Sec. 3 (GL-concat, GL-pool).
"""

from dataclasses import field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import component

ROWS_ONLY = {"vectors": False}
"""Metadata of a field that changes which rows are learnt from, and no vector: indices of vectors are shared."""


@runtime_checkable
class Fusion(Protocol):
    """Joins a global and a local descriptor.

    Attributes:
        uses_global: whether the global descriptor takes part.
        keep_pos_negatives: whether regions beside the object in a relevant image remain as negative rows.
    """

    uses_global: bool
    keep_pos_negatives: bool

    def fuse(self, global_: Float[Tensor, "k d"], local: Float[Tensor, "k d"]) -> Float[Tensor, "k e"]:
        """The classified vectors, row by row."""
        ...

    def split(self, weights: Float[Tensor, "q e"]) -> tuple[Float[Tensor, "q d"] | None, Float[Tensor, "q d"]] | None:
        r"""Hyperplanes for g and for l with :math:`w \cdot fuse(g, l) = w_g \cdot g + w_l \cdot l`.

        None in the first place where g takes no part; None altogether where the fusion is not linear.
        """
        ...


@component
class NoFusion:
    """The local descriptor alone (or, with `local=none`, the global one alone)."""

    uses_global = False
    keep_pos_negatives = True

    def fuse(self, global_: Float[Tensor, "k d"], local: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        return local

    def split(self, weights: Float[Tensor, "q d"]) -> tuple[None, Float[Tensor, "q d"]]:
        return None, weights


@component
class Concat:
    r"""GL-concat: :math:`[g, l] \in R^{2d}`, of norm :math:`\sqrt 2`.

    Args:
        keep_pos_negatives: the paper drops the negatives from relevant images, since they share g with positives.
        renorm: divide by the norm.
    """

    keep_pos_negatives: bool = field(default=False, metadata=ROWS_ONLY)
    renorm: bool = False
    uses_global = True

    def fuse(self, global_: Float[Tensor, "k d"], local: Float[Tensor, "k d"]) -> Float[Tensor, "k e"]:
        both = torch.cat([global_, local], dim=1)
        return F.normalize(both, dim=1) if self.renorm else both

    def split(self, weights: Float[Tensor, "q e"]) -> tuple[Float[Tensor, "q d"], Float[Tensor, "q d"]] | None:
        if self.renorm:
            return None
        global_, local = weights.chunk(2, dim=1)
        return global_, local


@component
class Pool:
    """GL-pool: (g + l) / 2.

    Args:
        keep_pos_negatives: keep the regions beside the object in relevant images as negatives. The paper drops them
            for concatenation only.
        renorm: bring the mean back to unit length; the paper does not say.
    """

    keep_pos_negatives: bool = field(default=True, metadata=ROWS_ONLY)
    renorm: bool = False
    uses_global = True

    def fuse(self, global_: Float[Tensor, "k d"], local: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        mean = (global_ + local) / 2
        return F.normalize(mean, dim=1) if self.renorm else mean

    def split(self, weights: Float[Tensor, "q d"]) -> tuple[Float[Tensor, "q d"], Float[Tensor, "q d"]] | None:
        return None if self.renorm else (weights / 2, weights / 2)
