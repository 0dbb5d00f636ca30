r"""Diffusion: similarities spread from the images that a query found over the graph of the collection.

The solution is :math:`u = (1 - \alpha)(I - \alpha \mathcal{W})^{-1} g`, which the iteration
:math:`u_t = \alpha \mathcal{W} u_{t-1} + (1 - \alpha) g` tends to. The start g is made from a query's similarities
(`start_from_neighbours`), or from spatially verified images (`start_from_verified`).
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.graphs.affinity import Affinity, normalised
from seekloop.graphs.propagation import Solver, Spreading

Method = Literal["cg", "iteration", "exact"]
Cut = Literal["late", "early"]


@component
class Diffusion(Spreading):
    """Global or regional diffusion of a query's similarities. Settings as in `Graph` and `Solver`, and these.

    Args:
        query_neighbours: images (or regions) from which a query starts; 5 in chapter 4 of the thesis.
        method: cg: conjugate gradient; iteration: the iteration itself, which needs far more steps, at most
            `iterations` too; exact: a sparse direct solution, for some thousands of vertices.
        truncation: vertices kept for each query, those most similar to it, all others get 0; None: all.
        cut: late: weights are normalised over the whole graph, and then cut; early: the part of the graph that is kept
            is normalised by itself.

    Reference:
        Iscen, Tolias, Avrithis, Furon, Chum, "Efficient Diffusion on Region Manifolds", CVPR 2017: k = 50 and 10
        neighbours of a query of one vector, k = 200 and 200 of regions; truncation is early.
        Siméoni, "Robust image representation for classification, retrieval and object discovery", 2020, section 2.4,
        eq. 2.8 to 2.10, and 4.4.1.
    """

    query_neighbours: Count = 10
    method: Method = "cg"
    truncation: Count | None = None
    cut: Cut = "late"

    def __post_init__(self) -> None:
        if self.cut == "early" and self.truncation is None:
            raise ConfigError("cut", self.cut, "nothing is cut", "Set truncation, or leave cut at late.", self)

    def rank(
        self,
        graph: Affinity,
        start: Float[Tensor, "n q"],
        similarity: Float[Tensor, "q n"] | None = None,
        weights: Affinity | None = None,
    ) -> Float[Tensor, "n q"]:
        """Spread every query's start over the graph.

        Args:
            graph: normalised weights, `Graph.of`.
            start: g, one column for each query, not negative.
            similarity: of every query and every vertex, by which the vertices to keep are chosen. Needed where
                `truncation` is set.
            weights: W of the graph, `Graph.weights`. Needed for an early cut.

        Returns:
            u, with the factor 1 - alpha; 0 where nothing arrives.

        Raises:
            ValueError: if what the truncation needs is missing.
        """
        if self.truncation is None or self.truncation >= graph.shape[0]:
            return diffused(graph, start, self, self.method)
        source = graph if self.cut == "late" else weights
        if similarity is None or source is None:
            raise ValueError(
                f"truncation={self.truncation} with a cut that is {self.cut} needs similarity= and weights="
            )
        found = torch.zeros_like(start)
        for query, kept in enumerate(highest(similarity, self.truncation)):
            inside = kept.nonzero()[:, 0]
            part = source[inside.numpy()][:, inside.numpy()]
            part = part if self.cut == "late" else normalised(part)
            column = start[inside, query][:, None]
            found[inside, query] = diffused(part, column, self, self.method)[:, 0]
        return found

    def __call__(
        self, graph: Affinity, similarity: Float[Tensor, "q n"], weights: Affinity | None = None
    ) -> Float[Tensor, "q n"]:
        """Scores of all vertices for queries outside the collection, from their similarities.

        Args:
            graph: normalised weights, `Graph.of`.
            similarity: cosines of every query and every vertex; -inf for images that could not be read.
            weights: as in `rank`.
        """
        queries = torch.arange(len(similarity))
        start = start_from_neighbours(
            similarity, queries, len(similarity), self.neighbours, self.query_neighbours, self.power
        )
        return self.rank(graph, start, similarity, weights).T.contiguous()


def diffused(
    graph: Affinity, start: Float[Tensor, "n q"], solver: Solver, method: Method = "cg"
) -> Float[Tensor, "n q"]:
    r"""Solve :math:`(I - \alpha \mathcal{W}) u = (1 - \alpha) g` for every column of g.

    Args:
        graph: :math:`\mathcal{W}`, symmetric for cg; any matrix of norm 1 at most for the others, such as the
            transposed transition matrix of a random walk, whose solution is personalised PageRank.
        start: g.
        solver: alpha, iterations and tolerance; exact solutions know alpha only.
        method: as in `Diffusion`.

    Returns:
        u, of the type of g.
    """
    if method == "cg":
        return (1 - solver.alpha) * solver.solve(graph, start)
    if method == "iteration":
        return iterated(graph, start, solver)[-1]
    system = sparse.csc_array(sparse.eye_array(graph.shape[0]) - solver.alpha * graph)
    right = (1 - solver.alpha) * start.double().cpu().numpy()
    solved = np.asarray(spsolve(system, right)).reshape(right.shape) if right.size else right
    return torch.from_numpy(solved).to(start)


def iterated(graph: Affinity, start: Float[Tensor, "n q"], solver: Solver) -> list[Float[Tensor, "n q"]]:
    r"""Last two steps of :math:`u_t = \alpha \mathcal{W} u_{t-1} + (1 - \alpha) g`, from :math:`u_0 = g`.

    Each step brings the solution nearer by a factor of alpha, in the 2-norm. It ends after `iterations` steps, or once
    no column moves by more than `tolerance` of its own length.
    """
    right = start.double().cpu().numpy()
    before = u = right
    for _ in range(solver.iterations):
        before, u = u, solver.alpha * (graph @ u) + (1 - solver.alpha) * right
        if np.all(np.linalg.norm(u - before, axis=0) <= solver.tolerance * np.linalg.norm(u, axis=0)):
            break
    return [torch.from_numpy(np.asarray(one)).to(start) for one in (before, u)]


def highest(values: Float[Tensor, "q n"], k: int) -> Bool[Tensor, "q n"]:
    """Mask of the k highest values of each row; of equal ones, those of the lower positions."""
    k = min(k, values.shape[1])
    if k == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    least = values.topk(k, dim=1).values[:, -1:]
    above, equal = values > least, values == least
    return above | (equal & (equal.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True)))


def start_from_neighbours(
    similarity: Float[Tensor, "v n"],
    query: Int[Tensor, " v"],
    queries: int,
    neighbours: int,
    query_neighbours: int,
    power: int | float,
) -> Float[Tensor, "n q"]:
    r"""Start of queries outside the collection, each of one or more vectors.

    Every vector has its list of nearest vertices. A query's similarity to a vertex is the sum over those of its vectors
    that have it in their lists; :math:`g = [s]_+^\gamma` of the highest sums, 0 elsewhere.

    Args:
        similarity: cosines of every vector and every vertex.
        query: to which query each vector belongs.
        queries: how many there are.
        neighbours: k, length of a vector's list.
        query_neighbours: vertices from which a query starts.
        power: :math:`\gamma`, taken after the sum.

    Reference:
        Iscen, Tolias, Avrithis, Furon, Chum, "Efficient Diffusion on Region Manifolds", CVPR 2017, section 4, and its
        code.
    """
    listed = similarity.double().masked_fill(~highest(similarity, neighbours), 0.0)
    total = listed.new_zeros(queries, similarity.shape[1]).index_add_(0, query, listed.clamp(min=-1.0))
    chosen = total.masked_fill(~highest(total, query_neighbours), 0.0)
    return (chosen.clamp(min=0.0) ** power).T.contiguous()


def start_from_verified(
    similarity: Float[Tensor, "q n"], inliers: Float[Tensor, "q n"], verified: int = 10, best: int = 5
) -> Float[Tensor, "n q"]:
    r"""Start from images that spatial matching has verified.

    .. math:: g_i = \frac{\text{inliers}_i}{\max_j \text{inliers}_j}\, s_i

    over the images with the most inliers, of which the highest products start. Where all products are 0 (or less), the
    shares of inliers start by themselves.

    Args:
        similarity: of every query and every image.
        inliers: of every query and every image; 0 for images that were not matched.
        verified: images taken by their inliers, of equal ones the more similar.
        best: of these, images that start; the released code takes 4.

    Reference:
        Siméoni, Avrithis, Chum, "Local Features and Visual Words Emerge in Activations", CVPR 2019; thesis, 4.4.1.
    """
    count, near = inliers.double().clamp(min=0.0), similarity.double().clamp(min=0.0)
    # Fewer than one inlier apart, similarity decides.
    order = count + (similarity.double().clamp(-1.0, 1.0) + 1) / 4
    count = count.masked_fill(~highest(order, verified), 0.0)
    most = count.amax(dim=1, keepdim=True)
    share = count / most.where(most > 0, 1.0)
    product = share * near
    product = product.masked_fill(~highest(product, best), 0.0)
    return torch.where((product > 0).any(dim=1, keepdim=True), product, share).T.contiguous()


def of_images(
    regions: Float[Tensor, "r q"], image: Int[Tensor, " r"], images: int, weights: Float[Tensor, " r"] | None = None
) -> Float[Tensor, "n q"]:
    """Scores of images from those of their regions: a weighted sum; 0 for images without regions.

    Args:
        regions: scores of all regions.
        image: that each is from.
        images: how many there are.
        weights: of the regions, `democratic`; None: 1.
    """
    weighted = regions if weights is None else regions * weights.to(regions)[:, None]
    return regions.new_zeros(images, regions.shape[1]).index_add_(0, image, weighted)


def democratic(features: Float[Tensor, "r d"], image: Int[Tensor, " r"], ridge: float = 1.0) -> Float[Tensor, " r"]:
    r"""Weights by which regions that resemble others of the same image count less (generalised max pooling).

    .. math:: c = (V^\top V + \lambda I)^{-1} \mathbf{1}

    where the columns of V are the regions of one image.

    Args:
        features: one row per region, of unit length.
        image: that each is from.
        ridge: :math:`\lambda`.

    Reference:
        Murray, Perronnin, "Generalized Max Pooling", CVPR 2014, as in Iscen et al., CVPR 2017.
    """
    found = torch.zeros(len(features), dtype=torch.float64)
    order = image.argsort(stable=True)
    _, counts = torch.unique(image, return_counts=True)
    first = F.pad(counts.cumsum(0), (1, 0))[:-1]
    for size in torch.unique(counts).tolist():  # images with equally many regions are solved together
        rows = order[first[counts == size][:, None] + torch.arange(size)]
        vectors = features[rows].double()
        gram = vectors @ vectors.transpose(1, 2) + ridge * torch.eye(size, dtype=torch.float64)
        found[rows] = torch.linalg.solve(gram, torch.ones(len(rows), size, 1, dtype=torch.float64))[..., 0]
    return found


def offline(graph: Affinity, lists: Int[Tensor, "n t"], solver: Solver) -> Affinity:
    r"""Solve once for every vertex as a query, within its own neighbourhood; a query then only adds columns.

    Column i is the solution that starts from vertex i alone, over the part of the graph that its list names (a late
    cut), 0 elsewhere. A start g outside the collection has the scores :math:`\mathcal{U} g`: `answered`.

    Args:
        graph: :math:`\mathcal{W}`, normalised over the whole graph.
        lists: for each vertex those most similar to it, the longer the better; itself is added where it is missing.
        solver: alpha, iterations, tolerance.

    Returns:
        :math:`\mathcal{U}`, (n, n), at most t + 1 entries in a column.

    Reference:
        Yang, Hinami, Matsui, Ly, Satoh, "Efficient Image Retrieval via Decoupling Diffusion into Online and Offline
        Processing", AAAI 2019, which keeps 1000 and leaves out the factor 1 - alpha.
    """
    columns = [column(graph, vertex, near, solver) for vertex, near in enumerate(lists)]
    ends = np.cumsum([0, *(len(rows) for rows, _ in columns)])
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(rows for rows, _ in columns)])
    values = np.concatenate([np.zeros(0), *(values for _, values in columns)])
    return sparse.csr_array(sparse.csc_array((values, rows, ends), shape=graph.shape))


def column(
    graph: Affinity, vertex: int, near: Int[Tensor, " t"], solver: Solver
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where a column of `offline` is not 0, and what it is there.

    Args:
        graph: as in `offline`.
        vertex: that it starts from.
        near: its list.
        solver: as in `offline`.
    """
    inside = torch.unique(torch.cat([near, torch.tensor([vertex])])).numpy()
    start = torch.from_numpy((inside == vertex).astype(np.float64))[:, None]
    values = diffused(graph[inside][:, inside], start, solver)[:, 0].numpy()
    return inside[values != 0], values[values != 0]


def answered(columns: Affinity, start: Float[Tensor, "n q"]) -> Float[Tensor, "n q"]:
    """Scores of queries from the columns of `offline`, combined by their starts."""
    return torch.from_numpy(columns @ start.double().cpu().numpy()).to(start)
