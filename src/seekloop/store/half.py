"""Half-precision rows, as they lie in a memory-mapped file, to unit length or straight to inner products.

Reading 16 bits and widening them in registers costs half the memory traffic of float32 and needs no copy: one search
over a million descriptors is as fast as the memory. Widening writes a half's exponent and fraction where a float has
its own and multiplies by 2^112, which is exact for every finite half, denormal ones included.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seekloop.contracts.compiled import REORDER, compiled, in_threads

Array = NDArray[Any]
_REBIAS = np.float32(2.0**112)  # a float's exponent counts from 127, a half's from 15
_SIGN, _REST, _UP, _WIDE = np.uint32(0x8000), np.uint32(0x7FFF), np.uint32(16), np.uint32(13)
_SHARE = 2**11  # most rows in a piece of work
_TURNS = 4


@compiled(REORDER)
@no_type_check
def _widen(half: Array, row: Array) -> float:
    """Write a half-precision row as float32; returns its squared length."""
    square = np.float32(0.0)
    for k in range(half.shape[0]):
        bits = np.uint32(half[k])
        value = np.uint32(((bits & _SIGN) << _UP) | ((bits & _REST) << _WIDE)).view(np.float32) * _REBIAS
        row[k] = value
        square += value * value
    return square


@compiled(REORDER)
@no_type_check
def _dot(row: Array, weights: Array) -> float:
    total = np.float32(0.0)
    for k in range(row.shape[0]):
        total += row[k] * weights[k]
    return total


@compiled(False)
@no_type_check
def _unit(half: Array, out: Array) -> None:
    for i in range(half.shape[0]):
        square = _widen(half[i], out[i])
        if square > 0.0:
            length = np.sqrt(square)
            for k in range(half.shape[1]):
                out[i, k] /= length


@compiled(False)
@no_type_check
def _products(half: Array, weights: Array, out: Array) -> None:
    row = np.empty(half.shape[1], np.float32)
    for i in range(half.shape[0]):
        square = _widen(half[i], row)
        length = np.sqrt(square) if square > 0.0 else np.float32(1.0)
        for q in range(weights.shape[0]):
            out[i, q] = _dot(row, weights[q]) / length


def unit_rows(parts: Sequence[Float[Tensor, "_ d"]]) -> Float[Tensor, "r d"]:
    """All rows of these float16 tables, one table after the other, in float32 and of unit length; zero stays zero."""
    out = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float32)
    _over(parts, lambda half, rows: _unit(half, out[rows]))
    return torch.from_numpy(out)


def unit_products(parts: Sequence[Float[Tensor, "_ d"]], weights: Float[Tensor, "q d"]) -> Float[Tensor, "r q"]:
    """Inner products of the rows, brought to unit length, with some weights."""
    out = np.empty((sum(map(len, parts)), len(weights)), np.float32)
    planes = weights.float().contiguous().numpy()
    _over(parts, lambda half, rows: _products(half, planes, out[rows]))
    return torch.from_numpy(out)


def _over(parts: Sequence[Float[Tensor, "_ d"]], work: Callable[[Array, slice], None]) -> None:
    """Do the work on all rows, shared out among threads; each gets pieces of the tables that follow each other."""
    pieces, start = [], 0
    for part in parts:
        bits = part.contiguous().view(torch.int16).numpy().view(np.uint16)
        edges = [*range(0, len(part), _SHARE), len(part)]
        pieces += [(bits[low:high], slice(start + low, start + high)) for low, high in pairwise(edges)]
        start += len(part)
    threads = torch.get_num_threads()
    size = max(1, -(-len(pieces) // (_TURNS * threads)))  # a few turns each, so that nobody waits long for the last one

    def several(some: list[tuple[Array, slice]]) -> None:
        for piece in some:
            work(*piece)

    in_threads(several, [pieces[first : first + size] for first in range(0, len(pieces), size)], threads)
