from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.contracts.records import Annotations
from seekloop.images.joined import join_queries


class Blank:
    """Images without content; image i has the box (i / 10, 0, 1, 1)."""

    name, problems = "blank", ()

    def __init__(self, images, boxes=True):
        rows = torch.arange(images if boxes else 0)
        none = torch.zeros(len(rows), dtype=torch.bool)
        self.paths = tuple(f"{i}.png" for i in range(images))
        box = torch.stack([rows / 10, rows * 0.0, rows * 0 + 1.0, rows * 0 + 1.0], dim=1)
        self.annotations = Annotations(("thing",), rows, rows * 0, box, none, none)

    def read(self, image):
        raise NotImplementedError

    def fingerprint(self):
        return "blank"


def rows(*lists):
    return tuple(torch.tensor(one, dtype=torch.int64) for one in lists)


@pytest.fixture
def search():
    """Two queries of a car, on images 0 and 1, around one of a dog. Image 4 is junk for one, right for another."""
    return InstanceSearch(
        Blank(6, boxes=False),
        Blank(3),
        ("car", "dog", "car"),
        torch.tensor([0, -1, 1]),
        {"all": Relevance(rows([1, 2], [5], [0, 4]), rows([3, 4], [], [3]))},
        ({1: torch.ones(1, 4), 2: torch.zeros(1, 4)}, {}, {0: torch.ones(1, 4)}),
    )


VECTORS = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.5]])


def test_two_queries_of_one_instance_by_hand(search):
    """Unit vectors (1, 0) and (0, 1): their mean is halfway, where the vectors as they are would lean to the first."""
    joined, vectors = join_queries(search, torch.arange(3), VECTORS)
    torch.testing.assert_close(vectors, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))
    assert joined.names == ("car", "dog")
    assert joined.relevant("all").int().tolist() == [[0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    assert joined.ignored("all").int().tolist() == [[1, 1, 0, 1, 0, 0], [0] * 6]
    assert [sorted(known) for known in joined.boxes] == [[2], []]
    assert joined.queries.paths == ("0.png", "1.png")
    assert joined.query_boxes(1).tolist() == search.query_boxes(1).tolist()


def test_a_query_without_a_vector_takes_no_part(search):
    """Of the car only the second query could be read: image 0 is right again, and image 2 wrong."""
    joined, vectors = join_queries(search, torch.tensor([1, 2]), VECTORS[1:])
    assert joined.names == ("dog", "car")
    assert joined.relevant("all")[1].int().tolist() == [1, 0, 0, 0, 1, 0]
    assert joined.ignored("all")[1].int().tolist() == [0, 1, 0, 1, 0, 0]
    assert joined.query_boxes(1)[0, 0].item() == pytest.approx(0.2)
    assert vectors.tolist() == [[0, 1], [0, 1]]


def test_texts_are_joined_too(search):
    texts = replace(search, queries=Blank(0), own=torch.full((3,), -1), texts=("red car", "dog", "fast car"))
    joined, _ = join_queries(texts, torch.arange(3), VECTORS)
    assert joined.texts == ("red car + fast car", "dog")
    assert joined.relevant("all")[0].int().tolist() == [1, 1, 1, 0, 1, 0]


@given(st.permutations(range(3)))
def test_queries_of_different_instances_stay_as_they_are(order):
    """In any order of the queries, tables and vectors belong together."""
    kept = torch.tensor(order)
    alone = InstanceSearch(
        Blank(4, boxes=False),
        Blank(3),
        ("a", "b", "c"),
        torch.tensor([0, -1, 2]),
        {"all": Relevance(rows([1], [0, 3], [3]), rows([2], [], [1]))},
        ({}, {}, {}),
    )
    joined, vectors = join_queries(alone, kept, VECTORS[kept])
    assert joined.names == tuple(alone.names[query] for query in order)
    assert joined.relevant("all").equal(alone.relevant("all")[kept])
    assert joined.ignored("all").equal(alone.ignored("all")[kept])
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(VECTORS[kept], dim=1))
