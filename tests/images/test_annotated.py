from dataclasses import replace

import pytest
import torch
from PIL import Image

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Collection
from seekloop.images.annotated import Chosen, annotated
from seekloop.images.folder import ImageFolder

ROWS = (
    "0.png,cup,0,0,10,5\n0.png,cup,10,5,20,10\n1.png,cup,0,0,10,10\n3.png,cup,0,0,20,10\n"
    "1.png,pen,0,0,5,5\n1.png,pen,5,5,20,10\n2.png,hat,0,0,5,5\n3.png,hat,0,0,20,5\n"
)


@pytest.fixture
def folder(tmp_path, save_image):
    """Cups on images 0 (two), 1 and 3; hats on 2 and 3; pens on 1 alone; images of 20 x 10 pixels."""
    for image in range(4):
        save_image(tmp_path / f"{image}.png", colour=(40 * image, 0, 0))
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n" + ROWS)
    return ImageFolder(str(tmp_path), "boxes.csv", False, None, 0.1, None)


def test_every_image_of_every_class_by_hand(folder):
    """Five queries are asked for and there are three images with cups: one query each, the others are right."""
    search = annotated(folder, 5, 0)
    assert isinstance(search, InstanceSearch)
    assert isinstance(search.queries, Collection)
    assert search.names == ("cup", "cup", "cup", "hat", "hat")
    assert sorted(search.own[:3].tolist()) == [0, 1, 3]
    assert sorted(search.own[3:].tolist()) == [2, 3]
    for query, (name, own) in enumerate(zip(search.names, search.own.tolist(), strict=True)):
        right = {"cup": {0, 1, 3}, "hat": {2, 3}}[name] - {own}
        assert set(search.setups["all"].positive[query].tolist()) == right == set(search.boxes[query])
        assert search.relevant("all")[query].nonzero()[:, 0].tolist() == sorted(right)
        assert search.ignored("all")[query].nonzero()[:, 0].tolist() == [own]
        assert len(search.query_boxes(query)) == 1
        assert search.queries.paths[query] == f"{own}.png"
        assert search.queries.read(query).getpixel((0, 0)) == (40 * own, 0, 0)


def test_a_query_is_the_box_that_was_drawn(folder):
    search = annotated(folder, 5, 0)
    hats = {int(search.own[query]): search.query_boxes(query).tolist() for query in (3, 4)}
    assert hats == {2: [[0, 0, 0.25, 0.5]], 3: [[0, 0, 1, 0.5]]}


def test_all_boxes_of_an_image_are_where_the_object_is(folder):
    search = annotated(folder, 5, 0)
    query = next(q for q in range(3) if search.own[q] != 0)
    assert search.boxes[query][0].tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]


def test_what_cannot_be_searched_for_is_named(folder):
    assert [problem.where for problem in annotated(folder, 1, 0).queries.problems] == ["pen"]


def test_more_queries_only_add_and_the_seed_decides(folder):
    one, two = annotated(folder, 1, 3), annotated(folder, 2, 3)
    assert one.own[0] == two.own[0]
    assert one.query_boxes(0).equal(two.query_boxes(0))
    assert len({annotated(folder, 1, seed).own[0].item() for seed in range(20)}) == 3


def test_what_is_drawn_of_a_class_does_not_depend_on_the_others(folder):
    (folder.root / "hats.csv").write_text("image,class,x0,y0,x1,y1\n2.png,hat,0,0,5,5\n3.png,hat,0,0,20,5\n")
    hats = ImageFolder(str(folder.root), "hats.csv", False, None, 0.1, None)
    for seed in range(8):
        together = annotated(folder, 1, seed)
        assert annotated(hats, 1, seed).own.tolist() == [int(together.own[together.names.index("hat")])]


def test_boxes_around_crowds_are_right_but_no_queries(folder):
    """The cups of image 1 are a crowd."""
    known = folder.annotations
    folder.annotations = replace(known, crowd=(known.image == 1) & (known.label == known.classes.index("cup")))
    search = annotated(folder, 5, 0)
    cups = [query for query, name in enumerate(search.names) if name == "cup"]
    assert sorted(search.own[cups].tolist()) == [0, 3]
    assert all(1 in search.boxes[query] for query in cups)


def test_the_fingerprint_follows_the_images_and_the_choice(folder):
    none = folder.annotations.keep(torch.zeros(8, dtype=torch.bool))
    prints = {Chosen("", folder, positions, none, ()).fingerprint() for positions in ((0, 1), (1, 0), (0, 1, 1), (0,))}
    assert len(prints) == 4
    Image.new("RGB", (20, 10), "white").save(folder.root / "0.png")
    assert Chosen("", folder, (0, 1), none, ()).fingerprint() not in prints


def test_a_collection_without_boxes_is_refused(folder):
    with pytest.raises(ConfigError, match=r"collection='folder' .*no class of folder has boxes on two"):
        annotated(ImageFolder(str(folder.root), None, False, None, 0.1, None), 5, 0)


def test_no_queries_are_refused(folder):
    with pytest.raises(ConfigError, match=r"queries=0 .*at least 1"):
        annotated(folder, 0, 0)


def test_where_no_class_is_left_the_error_says_what_was_left_out(tmp_path, save_image):
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\ngone.png,hat,0,0,9,9\n")
    images = ImageFolder(str(tmp_path), "boxes.csv", False, None, 1.0, None)
    with pytest.raises(ConfigError, match=r"boxes on two images or more; what was left out:\n.*no image 'gone.png'"):
        annotated(images, 5, 0)
