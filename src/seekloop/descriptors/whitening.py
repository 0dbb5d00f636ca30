"""Whitening: directions of descriptors come to count alike, learnt from descriptors alone or from pairs of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.protocols import Collection, Descriptors
from seekloop.contracts.records import ArrayBlock, Block

BLOCK = 2048  # rows whose pairs with all others are looked at together
JITTER = 1e-10  # the released code's first addition to a matrix that is not positive definite; ten times more each time


@dataclass(frozen=True)
class Whitening:
    """A map of descriptors, learnt from some of them.

    Attributes:
        mean: what is taken off.
        axes: what the rest is multiplied by; None: descriptors are only centred.
    """

    mean: Float[Tensor, " d"]
    axes: Float[Tensor, "d p"] | None

    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """The mapped descriptors, not of unit length."""
        centred = rows.double() - self.mean.to(rows.device)
        return (centred if self.axes is None else centred @ self.axes.to(rows.device)).to(rows.dtype)

    def unit(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """The mapped descriptors, of unit length."""
        return F.normalize(self(rows), dim=1)


class Whitened:
    """Descriptors mapped by a whitening as they are read, of unit length again. Implements `Descriptors`.

    Args:
        descriptors: of any collection.
        whitening: learnt on others.
    """

    def __init__(self, descriptors: Descriptors, whitening: Whitening) -> None:
        self.descriptors, self.whitening = descriptors, whitening
        self.images, self.regions, self.readable = descriptors.images, descriptors.regions, descriptors.readable
        self.dim = descriptors.dim if whitening.axes is None else whitening.axes.shape[1]
        self.collection: Collection | None = getattr(descriptors, "collection", None)

    def read(self, images: Int[Tensor, " b"], local: bool) -> Block:
        """As `Descriptors.read`; what could not be read stays zero."""
        block = self.descriptors.read(images, local)
        readable = self.readable[images]
        global_ = self.whitening.unit(block.global_) * readable[:, None]
        if block.local is None:
            return ArrayBlock(block.image, global_, None, block.offsets)
        cells = self.whitening.unit(block.local) * readable[block.owner, None]
        return ArrayBlock(block.image, global_, cells, block.offsets)


def learn_centring(rows: Float[Tensor, "n d"]) -> Whitening:
    """The map that takes the mean of these descriptors off."""
    return Whitening(rows.double().mean(dim=0), None)


def learn_whitening(rows: Float[Tensor, "n d"], dims: int | None = None) -> Whitening:
    r"""The map to these descriptors' principal directions, each divided by its standard deviation.

    .. math:: y = \Lambda_p^{-1/2} U_p^\top (x - \bar x), \qquad \mathrm{cov}(x) = U \Lambda U^\top

    so that the covariance of the descriptors becomes the identity (with 1/n). Directions without variance are left
    out: fewer than `dims` columns may come out, but at least one.

    Args:
        rows: descriptors, at least one.
        dims: p, most directions kept; None: all.

    Reference:
        Jégou & Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012.
    """
    mean = rows.double().mean(dim=0)
    centred = rows.double() - mean
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
    kept = max(1, min(dims or len(variance), int((variance > _noise(variance, rows)).sum())))
    variance, directions = variance.flip(0), directions.flip(1)
    scale = variance[:kept].clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
    return Whitening(mean, directions[:, :kept] * scale)


def learn_supervised(
    rows: Float[Tensor, "n d"],
    shown: Bool[Tensor, "n c"],
    dims: int | None = None,
    ridge: float = 1e-3,
    parity: bool = False,
) -> Whitening:
    r"""Learn the map under which descriptors of the same object differ alike in all directions.

    .. math:: w(z) = U^\top T (z - m), \qquad T = C_1^{-1/2}, \qquad
              C_l = \frac{1}{|Y_l|} \sum_{(i, j) \in Y_l} (z_i - z_j)(z_i - z_j)^\top

    Y1 are the pairs of rows that show something in common, Y0 all other pairs; U has the eigenvectors of C0, taken of
    the rows after T, by falling eigenvalue; m is the mean of all rows. Rows are brought to unit length first.

    With `parity`, as in the code released with Radenovic et al.: m is the mean of the first row of each matching pair,
    T the inverse Cholesky factor of C1, and the eigenvectors are of the covariance of all rows around that m. T then
    differs by a rotation that U takes back, and so do the eigenvectors where m is the mean of all: only m differs.

    Args:
        rows: descriptors.
        shown: objects (in columns) that each row shows; two rows match where they share one. For pairs that are given
            one by one: a column for each pair.
        dims: most columns of U; None: all directions in which rows differ.
        ridge: share of the mean variance of matching differences that is added to all of them, for fewer pairs than
            dimensions. With `parity` what is needed for the Cholesky factor instead.
        parity: as released.

    Raises:
        ValueError: if no two rows match, or all do.

    Reference:
        Siméoni's thesis, equations (5.11) and (5.12), after Mikolajczyk & Matas, "Improving descriptors for fast tree
        matching by optimal linear projection", ICCV 2007; Radenovic, Tolias & Chum, TPAMI 2019.
    """
    unit = F.normalize(rows.double(), dim=1)
    pairs = _Pairs.of(unit, shown)
    others = len(rows) * (len(rows) - 1) // 2 - pairs.count
    if not pairs.count or not others:
        raise ValueError("a supervised whitening needs two rows that match, and two that do not")
    intra = pairs.scatter / pairs.count  # C_1
    mean = pairs.first if parity else unit.mean(dim=0)
    if parity:
        factor = _inverse_cholesky(intra)
        spread = (unit - mean).T @ (unit - mean)
    else:
        noise = ridge * intra.diagonal().mean() * torch.eye(len(intra), dtype=torch.float64)
        factor = _inverse_root(intra + noise)  # T
        spread = (len(rows) * unit.T @ unit - torch.outer(unit.sum(dim=0), unit.sum(dim=0)) - pairs.scatter) / others
    variance, directions = torch.linalg.eigh(factor @ spread @ factor.T)  # of C_0 after T
    kept = max(1, min(dims or len(variance), int((variance > _noise(variance, rows)).sum())))
    return Whitening(mean, factor.T @ directions.flip(1)[:, :kept])


@dataclass(frozen=True)
class _Pairs:
    """All unordered pairs of rows that match, in three sums.

    Attributes:
        count: of the pairs.
        scatter: sum of the outer products of their differences.
        first: mean of the earlier row of each.
    """

    count: int
    scatter: Float[Tensor, "d d"]
    first: Float[Tensor, " d"]

    @staticmethod
    def of(rows: Float[Tensor, "n d"], shown: Bool[Tensor, "n c"]) -> "_Pairs":
        r"""Sum by rows: :math:`\sum (z_i - z_j)(z_i - z_j)^\top = Z^\top (D - A) Z`, A the pairs, D their degrees."""
        count, first = 0, torch.zeros(rows.shape[1], dtype=torch.float64)
        scatter = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        objects, position = shown.float(), torch.arange(len(rows))
        for start in range(0, len(rows), BLOCK):
            own = position[start : start + BLOCK, None]
            matching = ((objects[own[:, 0]] @ objects.T > 0) & (position != own)).double()  # rows of A
            later = (matching * (position > own)).sum(dim=1)
            block = rows[own[:, 0]]
            count += int(later.sum())
            first += later @ block
            scatter += block.T @ (matching.sum(dim=1, keepdim=True) * block - matching @ rows)
        return _Pairs(count, (scatter + scatter.T) / 2, first / max(1, count))


def _inverse_root(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The symmetric inverse square root; directions without variance are left out."""
    variance, directions = torch.linalg.eigh(matrix)
    least = variance[-1] * len(variance) * torch.finfo(torch.float64).eps
    return (directions * torch.where(variance > least, variance.clamp(min=least).rsqrt(), 0.0)) @ directions.T


def _inverse_cholesky(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The inverse of the lower Cholesky factor, of the matrix with a larger and larger diagonal until it has one."""
    identity = torch.eye(len(matrix), dtype=torch.float64)
    added, (factor, failed) = 0.0, torch.linalg.cholesky_ex(matrix)
    while int(failed):
        added = max(JITTER, 10 * added)
        factor, failed = torch.linalg.cholesky_ex(matrix + added * identity)
    return torch.linalg.solve_triangular(factor, identity, upper=False)


def _noise(variance: Float[Tensor, " d"], rows: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Variance, in ascending order, up to which a direction holds rounding only."""
    return variance[-1] * len(variance) * torch.finfo(rows.dtype).eps


def whitened(rows: Float[Tensor, "n d"], dims: int) -> Float[Tensor, "n p"]:
    """Descriptors by the whitening that they teach; not brought to unit length."""
    return learn_whitening(rows, dims)(rows)
