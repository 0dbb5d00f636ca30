"""Heat maps: where the model sees the object, and how that is drawn."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from seekloop.app.heatmap import OPAQUE, heat, render
from seekloop.backbones.tiny import Tiny
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.contracts.records import Regions
from seekloop.descriptors.pool import region_means
from seekloop.extraction.images import transform_of
from seekloop.images.generated.scenes import Scenes
from seekloop.loop.session import Session
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from seekloop.store.arrays import ArrayDescriptors
from tests.loop.parts import loop
from tests.worlds import grid_boxes

DIGIT = 3


@pytest.fixture(scope="module")
def scenes():
    return Scenes(images=120)


@pytest.fixture(scope="module")
def backbone():
    return Tiny()


@pytest.fixture(scope="module")
def session(scenes, backbone):
    """A search for a digit among the scenes, its boxes drawn, after four rounds of ten."""
    transform, boxes = transform_of(backbone), grid_boxes(4, 4)
    pixels = torch.stack([transform(scenes.read(image)) for image in range(scenes.images)])
    tokens = [backbone(some) for some in pixels.split(20)]
    global_ = torch.cat([one.cls for one in tokens])
    local = torch.cat([region_means(one.patches, boxes).flatten(0, 1) for one in tokens])
    known = scenes.annotations
    shows = known.relevance(scenes.images)[DIGIT]
    first = int(shows.nonzero()[0])
    parts = loop(
        ArrayDescriptors(global_, local, Regions(boxes, None)),
        Representation(All(), NoFusion()),
        classifier=SvmSklearn(),
    )
    search = Session.start(parts, first, known.largest_box(first, DIGIT).tolist(), budget=10)
    for _ in range(4):
        answers = {item.image: known.largest_box(item.image, DIGIT) for item in search.ask()}
        search.answer({image: False if box is None else box.tolist() for image, box in answers.items()})
    return search


def test_tokens_of_the_object_score_higher_than_the_others(scenes, backbone, session):
    """In most scenes of the digit, none of which the person has answered: of these, the hard ones are left."""
    known, higher = scenes.annotations, []
    for image in (known.relevance(scenes.images)[DIGIT] & (session.answers == 0)).nonzero()[:, 0].tolist():
        found = heat(session, backbone, scenes.read(image), image)
        rows, columns = found.shape
        x0, y0, x1, y1 = known.largest_box(image, DIGIT).tolist()
        y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
        inside = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        higher.append(bool(found[inside].mean() > found[~inside].mean()))
    assert len(higher) >= 8
    assert sum(higher) >= 0.7 * len(higher)


def test_a_network_of_half_the_precision_gives_nearly_the_same(scenes, session):
    full, half = (heat(session, net, scenes.read(0), 0) for net in (Tiny(), Tiny().to(torch.bfloat16)))
    assert (full - half).abs().max() < 0.1 * full.abs().max()


def drawn(content):
    picture = Image.open(io.BytesIO(content))
    assert picture.mode == "RGBA"
    return np.asarray(picture).astype(int)


def test_red_is_above_and_blue_below_and_nothing_is_drawn_at_0():
    """Three tokens side by side, 2, 0 and -1: the left end is as opaque as can be, the right end half as much."""
    pixels = drawn(render(torch.tensor([[2.0, 0.0, -1.0]]), (300, 100)))
    assert pixels.shape == (171, 512, 4)
    left, middle, right = pixels[85, 5], pixels[85, 256], pixels[85, -5]
    assert left[0] > left[2]
    assert right[2] > right[0]
    assert left[3] == OPAQUE
    assert middle[3] < 0.15 * OPAQUE
    assert right[3] == pytest.approx(OPAQUE / 2, abs=0.1 * OPAQUE)


def test_a_map_is_smooth_and_upright():
    """The lower row alone is warm: opacity rises all the way down."""
    column = drawn(render(torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 4.0]]), (60, 120)))[:, 100, 3]
    assert len(column) == 512
    assert column[400:].min() > column[:250].max()
    assert np.abs(np.diff(column)).max() < 0.03 * OPAQUE


def test_a_map_without_any_heat_is_transparent():
    assert drawn(render(torch.zeros(3, 2), (2000, 1000)))[..., 3].max() == 0
