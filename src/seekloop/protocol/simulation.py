"""The numbers of a simulated experiment: how many searches, how long, and how coverage is measured."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from jaxtyping import Bool
from torch import Tensor

from seekloop.contracts.declared import Count, component
from seekloop.contracts.problems import Problem
from seekloop.contracts.records import Annotations, Query
from seekloop.protocol.queries import draw_queries


@component
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

    queries: Count = 10
    negatives: Count = 5
    rounds: Annotated[int, Ge(0)] = 25
    budget: Count = 10
    classes: object = None
    clusters: Count = 32
    clusterings: Count = 10
    seed: int = 0

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
