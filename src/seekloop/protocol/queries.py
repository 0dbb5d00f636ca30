"""Searches of an experiment, drawn from the annotations: the same for every setting compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from seekloop.contracts.declared import Count, component, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, first_reasons, many
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Annotations, Example, Query, Text
from seekloop.images.class_names import check_classes

MIN_POSITIVES = 2


@component
class FromWords:
    """How simulated searches begin with words.

    They are the searches that would begin with a box: of the same classes, with the same negatives. So each can be
    compared with itself. Where the example is not given, it is an image like any other, still to be found.

    Args:
        words: that are searched for in place of a class's name, such as {tvmonitor: television}; None: its name.
        box: whether the example with its box is given as well.
    """

    words: Mapping[str, str] | None = None
    box: bool = False

    def texts(self, queries: Sequence[Query], collection: str, classes: Sequence[str]) -> dict[str, str]:
        """Words of each class that is searched for.

        Args:
            queries: the searches.
            collection: name of the images.
            classes: of the images, also those that are not searched for.

        Raises:
            ConfigError: if `words` names a class that is not there.
        """
        words = self.words or {}
        check_classes(words, collection, classes, self)
        return {query.class_name: words.get(query.class_name, query.class_name) for query in queries}


@dataclass(frozen=True)
class Words:
    """Words that searches begin with.

    Attributes:
        texts: of each class.
        box: whether the example with its box is given as well.
    """

    texts: Mapping[str, Text]
    box: bool

    def begin(self, queries: Sequence[Query]) -> tuple[Query, ...]:
        """The searches, with the words of their class, and with or without their example."""
        return tuple(
            replace(query, text=self.texts[query.class_name], examples=query.examples if self.box else ())
            for query in queries
        )


@declared
def draw_queries(
    annotations: Annotations,
    readable: Bool[Tensor, " n"],
    *,
    queries: Count = 10,
    negatives: Count = 5,
    classes: object = None,
    seed: int = 0,
    problems: Sequence[Problem] = (),
) -> tuple[tuple[Query, ...], dict[str, str]]:
    """Draw `min(queries, positives)` distinct first images per class, each with its own true negatives.

    Every draw depends on the seed, the class name and the query's number alone: neither on the other classes nor
    on the number of queries.

    Args:
        annotations: objects in the images.
        readable: which images can be shown.
        queries: how many of each class.
        negatives: how many labelled negatives each search starts with.
        classes: names of the classes to search for; None: all.
        seed: of all draws.
        problems: what was left out of the annotations; named in the error where nothing is left.

    Returns:
        The queries, class by class, and the classes left out with the reason.

    Raises:
        ConfigError: if a class is unknown or no class can be searched.
    """
    names = _chosen(annotations.classes, classes, problems)
    relevance = annotations.relevance(len(readable)) & readable
    drawn: list[Query] = []
    left_out: dict[str, str] = {}
    for name in names:
        label = annotations.classes.index(name)
        positive = relevance[label].nonzero()[:, 0]
        negative = (~relevance[label] & readable).nonzero()[:, 0]
        if len(positive) < MIN_POSITIVES or len(negative) < negatives:
            shown, others = many(len(positive), "positive", "positives"), many(len(negative), "negative", "negatives")
            left_out[name] = f"{shown} (2 needed), {others} ({negatives} needed)"
            continue
        order = torch.randperm(len(positive), generator=generator(seed, "query", name))
        for number, image in enumerate(positive[order[:queries]].tolist()):
            rng = generator(seed, "negatives", name, number)
            picks = negative[torch.randperm(len(negative), generator=rng)[:negatives]]
            example = Example(image, annotations.largest_box(image, label))
            drawn.append(Query(name, number, (example,), tuple(picks.tolist())))
    if not drawn:
        raise ConfigError(
            "classes", classes, f"no class can be searched: {left_out}", "Add annotated images.", draw_queries
        )
    return tuple(drawn), left_out


def _chosen(known: Sequence[str], asked: object, problems: Sequence[Problem]) -> Sequence[str]:
    if not known:
        why = "a simulated search needs annotated objects and this collection has none"
        fix = "Give boxes (for collection=folder: collection.boxes=<file or folder>)."
        if problems:
            reasons = "\n  ".join([f"{why}; what was left out:", *first_reasons(problems)])
            why = f"{reasons}\nNothing is left to search for"
        raise ConfigError("collection", "no boxes", why, fix)
    if asked is None:
        return known
    if isinstance(asked, str) or not isinstance(asked, Sequence):
        raise ConfigError("classes", asked, "it is no list", f"Write for instance [{known[0]}].", draw_queries)
    names = [str(name) for name in asked]  # digits are names too
    if unknown := [name for name in names if name not in known]:
        why = f"the collection has no class {', '.join(unknown)}"
        raise ConfigError("classes", asked, why, f"Choose from {list(known)}.", draw_queries)
    return [name for name in known if name in names]


def queries_table(queries: Sequence[Query], paths: Sequence[str], words: Words | None = None) -> pd.DataFrame:
    """One row per query: class_name, query, image (position), path, x0, y0, x1, y1, negatives.

    Searches that begin with words have two columns more: `words`, and `shown`, which is whether the image was given as
    an example. Image and box are there in any case: they say which searches of other runs are the same.

    Args:
        queries: as they were drawn.
        paths: of the images.
        words: that they begin with; None: without.
    """
    rows = []
    for query in queries:
        image, box = query.first.image, query.first.box
        corners = [None] * 4 if box is None else box.tolist()
        rows.append((query.class_name, query.number, image, paths[image], *corners, list(query.negatives)))
    columns = ["class_name", "query", "image", "path", "x0", "y0", "x1", "y1", "negatives"]
    table = pd.DataFrame(rows, columns=columns)
    if words is None:
        return table
    return table.assign(words=[words.texts[query.class_name].words for query in queries], shown=words.box)
