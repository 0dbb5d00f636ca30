from dataclasses import replace

import pytest
import torch
from PIL import Image

from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.contracts.records import Annotations


class Blank:
    """Images without content, with boxes of one class given as (image, box)."""

    def __init__(self, images, boxes=()):
        none = torch.zeros(len(boxes), dtype=torch.bool)
        self.name, self.problems = "blank", ()
        self.paths = tuple(f"{i}.png" for i in range(images))
        image = torch.tensor([i for i, _ in boxes], dtype=torch.long)
        self.annotations = Annotations(
            ("thing",), image, image * 0, torch.tensor([b for _, b in boxes]).reshape(-1, 4), none, none
        )

    def read(self, image):
        return Image.new("RGB", (4, 4))

    def fingerprint(self):
        return str(len(self.paths))


@pytest.fixture
def search():
    """Two queries on four images; the first one's own image is 1, the second one's is not among them."""
    left = [0.0, 0.0, 0.5, 1.0]
    relevance = Relevance(
        (torch.tensor([1, 3]), torch.tensor([], dtype=torch.long)), (torch.tensor([0]), torch.tensor([2, 3]))
    )
    return InstanceSearch(
        Blank(4), Blank(2, [(0, left)]), ("a", "b"), torch.tensor([1, -1]), {"all": relevance}, ({}, {})
    )


def test_tables_by_hand(search):
    """The own image of the first query is neither positive nor ranked, though it is listed as positive."""
    assert search.relevant("all").tolist() == [[False, False, False, True], [False] * 4]
    assert search.ignored("all").tolist() == [[True, True, False, False], [False, False, True, True]]


def test_the_boxes_of_a_query(search):
    assert search.query_boxes(0).tolist() == [[0.0, 0.0, 0.5, 1.0]]
    assert search.query_boxes(1).shape == (0, 4)


def test_a_query_has_one_box(search):
    left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="query 1 has 2 boxes: give one"):
        replace(search, queries=Blank(2, [(0, left), (1, left), (1, right)]))
