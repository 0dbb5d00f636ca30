"""The numbers of a simulated experiment: how many searches, how long, and how coverage is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem
from seekloop.contracts.records import Annotations, Query
from seekloop.protocol.queries import draw_queries

KEYS = {"clusters": "metrics.clusters", "clusterings": "metrics.clusterings", "seed": "seed"}


@dataclass(frozen=True)
class Simulation:
    """The protocol of the interactive experiments.

    Args:
        queries: searches per class (the paper's Q).
        negatives: irrelevant images known at the start of each (N_n).
        rounds: turns of the loop (T).
        budget: images asked about in a turn (b).
        classes: names of the classes to search for; None: all.
        clusters: k of the coverage metric.
        clusterings: independent k-means runs that coverage is averaged over.
        seed: of every draw.

    Reference:
        Zaher, Buisson & Joly, arXiv 2604.00809, section 4.
    """

    queries: int
    negatives: int
    rounds: int
    budget: int
    classes: object
    clusters: int
    clusterings: int
    seed: int

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Simulation":
        """The simulation with these numbers, as a config has them.

        Raises:
            ConfigError: if a number is none, or has no meaning.
        """
        for name in ("queries", "negatives", "rounds", "budget", "clusters", "clusterings", "seed"):
            value, key = values[name], KEYS.get(name, f"loop.{name}")
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(key, value, "it is no whole number", "Write it in digits, such as 10.")
            if name.startswith("cluster") and value < 1:
                raise ConfigError(key, value, "there would be nothing to count", "Use 1 or more.")
        return Simulation(**values)

    def draw(
        self, annotations: Annotations, readable: Bool[Tensor, " n"], problems: Sequence[Problem]
    ) -> tuple[tuple[Query, ...], dict[str, str]]:
        """Draw the searches, as `draw_queries` does.

        Args:
            annotations: objects in the images.
            readable: images that can be shown.
            problems: of reading the annotations, for the error where nothing can be searched for.

        Returns:
            The searches, and the classes that cannot be searched for, with the reason.

        Raises:
            ConfigError: if a class is unknown, or no class can be searched for.
        """
        return draw_queries(
            annotations,
            readable,
            queries=self.queries,
            negatives=self.negatives,
            classes=self.classes,
            seed=self.seed,
            problems=problems,
        )
