"""Boxes as a collection of their own."""

import numpy as np
import torch
from PIL import Image

from seekloop.contracts.records import Annotations
from seekloop.images.crops import Crops


class Source:
    name, paths, problems = "source", ("a.png", "b.png"), ()

    def __init__(self, box=(0.5, 0.25, 1.0, 0.75)):
        none = torch.zeros(2, dtype=torch.bool)
        boxes = torch.tensor([list(box), [0.0, 0.0, 0.5, 0.5]])
        self.annotations = Annotations(
            ("x",), torch.tensor([0, 0]), torch.zeros(2, dtype=torch.long), boxes, none, none
        )

    def read(self, image):
        values = np.zeros((8, 4, 3), dtype=np.uint8)
        values[2:6, 2:] = 200
        return Image.fromarray(values)

    def fingerprint(self):
        return "source"


def test_an_image_is_its_first_box_and_whole_without_one():
    crops = Crops(Source())
    assert crops.read(0).size == (2, 4)
    assert np.asarray(crops.read(0)).min() == 200
    assert crops.read(1).size == (4, 8)
    assert len(crops.annotations.image) == 0


def test_a_thin_box_is_one_pixel_and_other_boxes_are_another_collection():
    assert Crops(Source((0.99, 0.0, 1.0, 1.0))).read(0).size == (1, 8)
    assert Crops(Source()).fingerprint() != Crops(Source((0.0, 0.0, 1.0, 1.0))).fingerprint()
