"""Images that keep their proportions on the way to a network."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seekloop.backbones.cnn import MapTokens
from seekloop.backbones.preprocessing import Preprocessing
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.records import Annotations
from seekloop.descriptors.encoding import FromCrops, FromTokens
from seekloop.descriptors.pooling import Mean
from seekloop.extraction.describe import ensure, global_descriptor
from seekloop.extraction.images import OwnSize, own_size
from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.grid import Grid
from seekloop.store.reader import open_store
from tests.extraction.extractions import staged
from tests.extraction.fakes import Patches


class Pixels(nn.Module):
    """Means of blocks of 4 x 4 pixels as the only map."""

    def __init__(self):
        super().__init__()
        self.pool, self.one = nn.AvgPool2d(4), nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return [self.pool(pixels) * self.one]


def network():
    expects = Preprocessing((16, 16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
    return MapTokens(Pixels(), "pixels", 3, (), expects)


class Three:
    """A wide picture, black on its left half; one that cannot be read; a small one."""

    name, problems = "three", ()
    paths = ("wide.png", "bad.png", "small.png")

    def __init__(self):
        box = torch.tensor([[0.5, 0.0, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]])
        none = torch.zeros(3, dtype=torch.bool)
        self.annotations = Annotations(("x",), torch.arange(3), torch.zeros(3, dtype=torch.long), box, none, none)

    def read(self, image):
        if image == 1:
            raise UnreadableImageError("bad.png", "damaged")
        values = np.zeros((10, 40, 3) if image == 0 else (6, 6, 3), dtype=np.uint8)
        values[:, values.shape[1] // 2 :] = 255
        return Image.fromarray(values)

    def fingerprint(self):
        return "three"


def test_sizes_keep_proportions_to_the_nearest_token_and_crops_the_scale():
    sizes = OwnSize(32, (4, 8))
    assert sizes.size((40, 10), (40, 10)) == (8, 32)
    assert sizes.size((10, 10), (40, 10)) == (8, 8)  # a crop: 8 x 8 pixels at that scale
    assert sizes.size((1, 1), (40, 10)) == (4, 8)
    assert sizes.size((16, 12), (16, 12)) == (12, 16)  # smaller images are not enlarged


def test_a_wide_picture_has_a_wide_map(tmp_path):
    """By hand: 40 x 10 becomes 16 x 4, four tokens beside each other, of which two are white."""
    chosen = {"backbone": network(), "regions": Grid("1x2", "1x2"), "encoding": FromTokens(), "pooling": Mean()}
    stage = staged(tmp_path, Three(), chosen=chosen, longest=16)
    _ = stage.plan  # a blank image goes first
    shapes = []
    stage.backbone.trunk.register_forward_hook(lambda _, given, found: shapes.append(tuple(found[0].shape[2:])))
    store = open_store(ensure(stage, lambda _: None), None)
    assert shapes == [(1, 4), (1, 1), (2, 2)]
    assert store.readable.tolist() == [True, False, True]
    global_, local = store.stored_rows(torch.tensor([0]))
    assert global_.tolist() == [[0.5, 0.5, 0.5]]
    assert local.flatten(0, 1)[:, 0].tolist() == pytest.approx([0.0, 1.0], abs=0.02)  # the filter blurs the edge
    squashed = staged(tmp_path, Three(), chosen=chosen)
    assert squashed.plan.key != stage.plan.key


def test_crops_have_the_scale_of_their_image(tmp_path):
    """The white quarter of 10 x 10 pixels becomes 4 x 4: one token, at the scale of its image."""
    chosen = {"backbone": network(), "regions": AnnotatedBoxes(), "encoding": FromCrops(), "pooling": Mean()}
    stage = staged(tmp_path, Three(), chosen=chosen, longest=16)
    _ = stage.plan  # a blank image goes first
    shapes = []
    stage.backbone.trunk.register_forward_hook(lambda _, given, found: shapes.append(tuple(found[0].shape[2:])))
    store = open_store(ensure(stage, lambda _: None), None)
    assert shapes == [(1, 4), (1, 1), (1, 1), (1, 1), (2, 2), (1, 2)]
    assert store.stored_rows(torch.tensor([0]))[1].tolist() == [[1.0, 1.0, 1.0]]


def test_a_picture_from_elsewhere_is_described_alike(tmp_path):
    chosen = {"backbone": network(), "regions": Grid("1x1"), "encoding": FromTokens(), "pooling": Mean()}
    stage = staged(tmp_path, Three(), chosen=chosen, longest=16)
    store = open_store(ensure(stage, lambda _: None), None)
    for image in (0, 2):
        found = global_descriptor(stage, Three().read(image))
        torch.testing.assert_close(found, store.stored_rows(torch.tensor([image]))[0].float(), atol=1e-3, rtol=0)


def test_a_network_of_one_size_is_refused():
    with pytest.raises(ConfigError, match=r"longest=64 .*one size only"):
        own_size(Patches(), 64)
    assert own_size(Patches(), None) is None
