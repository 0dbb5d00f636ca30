"""Kinds of faiss index, and the settings of each."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Interval

from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError

Kind = Literal["flat", "ivf", "pq", "ivfpq", "hnsw"]
BUILT_BY = {
    "flat": (),
    "ivf": ("nlist",),
    "pq": ("pq_m", "pq_bits"),
    "ivfpq": ("nlist", "pq_m", "pq_bits"),
    "hnsw": ("hnsw_m",),
}
"""Kinds, and the settings that determine what is built."""

SEARCHED_BY = {"flat": (), "ivf": ("nprobe",), "pq": (), "ivfpq": ("nprobe",), "hnsw": ("hnsw_ef",)}
"""Kinds, and the settings that determine how the same index is searched."""

ROWS_PER_CENTRE = 39  # with fewer, k-means only memorises; faiss warns below the same number
SAMPLE_PER_CENTRE = 64


@component
class IndexSettings:
    """Kind of an index, and its parameters; those of other kinds have no effect.

    Args:
        kind: flat, ivf, pq, ivfpq or hnsw.
        nlist: clusters of ivf and ivfpq; None: twice the square root of the number of vectors.
        nprobe: clusters looked into at first; None: an eighth of them. Grows with the shortlist.
        pq_m: bytes (if `pq_bits` is 8) that a vector of pq and ivfpq is coded with; must divide its dimension.
        pq_bits: bits of each of the `pq_m` codes.
        hnsw_m: links of each vector in the graph.
        hnsw_ef: least number of vectors that a search of the graph keeps in view.

    Raises:
        ConfigError: if a number has no meaning.
    """

    kind: Kind
    nlist: Count | None = None
    nprobe: Count | None = None
    pq_m: Count = 64
    pq_bits: Annotated[int, Interval(ge=1, le=12)] = 8  # 2^12 centres for each code: more are too many to learn
    hnsw_m: Count = 32
    hnsw_ef: Count = 64

    @property
    def clustered(self) -> bool:
        """Whether vectors lie in clusters, of which a search looks into some."""
        return "nlist" in BUILT_BY[self.kind]

    @property
    def coded(self) -> bool:
        """Whether vectors are kept as short codes, so that even the scores of what is found are approximate."""
        return "pq_m" in BUILT_BY[self.kind]

    def build_identity(self, rows: int) -> dict[str, Any]:
        """Settings that determine the index of so many vectors."""
        given = {name: getattr(self, name) for name in BUILT_BY[self.kind]}
        return {"kind": self.kind, **given, **({"nlist": self.clusters(rows)} if self.clustered else {})}

    def identity(self) -> dict[str, Any]:
        """Settings that determine which images are proposed, beside the collection."""
        names = (*BUILT_BY[self.kind], *SEARCHED_BY[self.kind])
        return {"kind": self.kind, **{name: getattr(self, name) for name in names}}

    def clusters(self, rows: int) -> int:
        """Number of clusters that so many vectors are divided into."""
        wished = round(2 * math.sqrt(rows)) if self.nlist is None else self.nlist
        return max(1, min(wished, rows // ROWS_PER_CENTRE))

    def probes(self, clusters: int, widening: int) -> int:
        """Number of clusters that a search looks into, after the shortlist has grown by `widening`."""
        first = -(-clusters // 8) if self.nprobe is None else self.nprobe
        return min(clusters, first * widening)

    def sample(self, rows: int) -> int:
        """Number of vectors that it is trained on; 0 where there is nothing to train."""
        centres = max(self.clusters(rows) if self.clustered else 0, 2**self.pq_bits if self.coded else 0)
        return min(rows, SAMPLE_PER_CENTRE * centres)

    def factory(self, rows: int, dim: int) -> str:
        """The index in the words of faiss.

        Raises:
            ConfigError: if such vectors cannot be coded in this way.
        """
        if self.coded and dim % self.pq_m:
            fitting = [m for m in range(1, dim + 1) if dim % m == 0 and m <= 2 * self.pq_m]
            why = f"it does not divide the {dim} dimensions of a vector"
            raise ConfigError("pq_m", self.pq_m, why, f"Choose {fitting[-1]}, for instance.", self)
        if self.coded and 2**self.pq_bits > rows:
            why = f"{2**self.pq_bits} centres cannot be learnt from {rows} vectors"
            lower = f"Choose up to {rows.bit_length() - 1}, or use" if rows > 1 else "Use"
            raise ConfigError("pq_bits", self.pq_bits, why, f"{lower} index=flat.", self)
        codes = f"PQ{self.pq_m}x{self.pq_bits}" if self.coded else "Flat"
        if self.kind == "hnsw":
            return f"HNSW{self.hnsw_m},Flat"
        return f"IVF{self.clusters(rows)},{codes}" if self.clustered else codes

    def bytes(self, rows: int, dim: int) -> int:
        """Size of the index in memory and on disk, about."""
        vector = -(-self.pq_m * self.pq_bits // 8) if self.coded else 4 * dim
        links = 8 * self.hnsw_m if self.kind == "hnsw" else 0
        return rows * (vector + links + (8 if self.clustered else 0) + 8)
