import copy
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.contracts.protocols import Collection
from seekloop.images.annotated import annotated
from seekloop.images.folder import ImageFolder
from seekloop.images.generated.affine import apply, determinant, inscribed, reach
from seekloop.images.generated.collage import Paste, Ranges, draw_map, extent, fitted, lay_cover, visible
from seekloop.images.generated.pasted import Pasted
from seekloop.images.voc import Voc2012

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
DEFAULTS = {
    "instances": 4,
    "copies": 5,
    "distractors": 6,
    "image_size": 120,
    "object_area": (0.04, 0.5),
    "rotation": 30.0,
    "scale": (0.6, 1.5),
    "shear": 0.2,
    "brightness": (0.7, 1.3),
    "occluded": 0.4,
    "seed": 0,
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """24 smooth coloured pictures of 160 x 120 pixels; 12 have a box each, of cats, dogs, a small ant."""
    root = tmp_path_factory.mktemp("photographs")
    rows = []
    for image in range(24):
        noise = np.random.default_rng(image).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).save(root / f"{image:02d}.png")
        if image < 11:
            rows.append(f"{image:02d}.png,{('cat', 'dog')[image % 2]},{20 + image},{30},{90 + image},{100}")
    rows.append("11.png,ant,0,0,10,10")
    (root / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    return ImageFolder(str(root), "boxes.csv", False, None, 0.1, None)


def pasted(photographs, **changes):
    return Pasted(source=photographs, **{**DEFAULTS, **changes})


def marked(photographs, **marks):
    """The same photographs, their boxes marked otherwise."""
    other = copy.copy(photographs)
    other.annotations = replace(photographs.annotations, **marks)
    return other


@pytest.fixture(scope="module")
def collection(photographs):
    return pasted(photographs)


def test_it_is_a_collection(collection):
    assert isinstance(collection, Collection)
    assert len(collection.paths) == 4 * 5 + 6
    assert [path.split("_")[1] for path in collection.paths[4:6]] == ["0000/004.png", "0001/000.png"]
    assert collection.paths[-1] == "distractors/00005.png"
    assert collection.read(3).mode == "RGB"
    assert max(collection.read(3).size) == max(collection.read(25).size) == 120
    assert collection.annotations.label.tolist() == [i for i in range(4) for _ in range(5)]
    assert collection.annotations.image.tolist() == list(range(20))


@pytest.mark.parametrize("seed", [5, 7, 9])  # three of the first four drawn are of one class
def test_classes_take_turns_and_each_photograph_gives_one_object(photographs, seed):
    collection = pasted(photographs, seed=seed)
    assert sorted(name[:3] for name in collection.annotations.classes) == ["cat", "cat", "dog", "dog"]
    assert len({instance.photograph for instance in collection.instances}) == 4


def test_each_photograph_gives_one_object_however_many_it_shows(tmp_path):
    """Two classes on the first of two photographs: whatever the order, the objects are numbered 0 and 1."""
    for image in range(2):
        Image.new("RGB", (160, 120)).save(tmp_path / f"{image}.png")
    rows = "0.png,cat,0,0,0.5,0.5\n0.png,dog,0.5,0.5,1,1\n1.png,cat,0,0,0.5,0.5\n"
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n" + rows)
    source = ImageFolder(str(tmp_path), "boxes.csv", False, None, 0.1, None)
    for seed in range(6):
        names = [instance.name for instance in pasted(source, instances=2, seed=seed).instances]
        assert [name.split("_")[1] for name in names] == ["0000", "0001"]


def test_backgrounds_and_patches_do_not_show_the_class_and_are_not_cut_from(collection, photographs):
    cut = {instance.photograph for instance in collection.instances}
    shown = photographs.annotations.relevance(24)
    for paste in collection.pastes:
        label = collection.instances[paste.instance].label
        used = [paste.background] + ([paste.cover.photograph] if paste.cover else [])
        assert len(set(used)) == len(used)
        assert not cut & set(used)
        assert not shown[label][used].any()
    assert not cut & set(collection.plain)
    assert len(set(collection.plain)) == 6
    for place, photograph in enumerate(collection.plain):
        assert collection.read(20 + place).tobytes() == fitted(photographs.read(photograph), 120).tobytes()


def test_copies_of_an_object_are_on_different_photographs_each_objects_on_its_own(collection):
    backgrounds = [{paste.background for paste in collection.pastes if paste.instance == one} for one in range(4)]
    assert [len(photographs) for photographs in backgrounds] == [5] * 4
    assert len(set(map(frozenset, backgrounds))) == 4


def test_every_copy_is_turned_enlarged_and_lit_in_its_own_way(collection):
    assert len(collection.maps[:, :, :2].flatten(1).unique(dim=0)) == 20
    gains = [paste.gain for paste in collection.pastes]
    assert 0.7 <= min(gains) < 0.9 < 1.1 < max(gains) <= 1.3


def test_an_object_that_is_left_as_it_is_keeps_its_share_of_the_longest_side(tmp_path):
    """Cut from 160 x 120 pixels and pasted on squares of 80, all brought to 120: three quarters of its size."""
    for image in range(5):
        Image.new("RGB", (80, 80) if image else (160, 120)).save(tmp_path / f"{image}.png")
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n0.png,cat,20,30,90,100\n")
    source = ImageFolder(str(tmp_path), "boxes.csv", False, None, 0.1, None)
    for paste in pasted(source, instances=1, copies=2, rotation=0.0, scale=(1.0, 1.0), shear=0.0).pastes:
        assert [row[:2] for row in paste.map] == [pytest.approx((0.75, 0)), pytest.approx((0, 0.75))]


def test_the_box_holds_all_pixels_that_the_object_changes_and_touches_them(photographs):
    """Against the same picture without the object. The edge fades: the box may be a tenth of the radius wider."""
    collection = pasted(photographs)
    for image, paste in enumerate(collection.pastes):
        bare = fitted(photographs.read(paste.background), 120)
        if paste.cover:
            lay_cover(bare, fitted(photographs.read(paste.cover.photograph), 120), paste.cover)
        with_it, without = (np.asarray(p, dtype=int) for p in (collection.read(image), bare))
        changed = np.abs(with_it - without).max(axis=2) > 8
        size = np.array(paste.size * 2)
        x0, y0, x1, y1 = np.rint(collection.annotations.box[image].numpy() * size).astype(int)
        outside = changed.copy()
        outside[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = False
        assert not outside.any()
        slack = math.ceil(0.1 * max(reach(paste.map, paste.ellipse))) + 3
        near = extent(changed)
        assert np.abs(np.array(near) - (x0, y0, x1, y1)).max() <= slack


def test_the_map_takes_the_middle_of_the_source_box_to_where_it_is(collection, photographs):
    """The colour there is that of the object's middle, times its brightness, where no patch covers it."""
    seen = 0
    for image, (paste, map) in enumerate(zip(collection.pastes, collection.maps, strict=True)):
        assert map.tolist() == [list(row) for row in paste.map]
        instance = collection.instances[paste.instance]
        x0, y0, x1, y1 = instance.corners
        column, row = (int(v) for v in apply(paste.map, ((x0 + x1) / 2, (y0 + y1) / 2)))
        if visible(paste)[row, column] and visible(paste)[row - 3 : row + 4, column - 3 : column + 4].all():
            photograph = np.asarray(photographs.read(instance.photograph), dtype=float)
            there = np.asarray(collection.read(image), dtype=float)[row, column]
            expected = np.minimum(photograph[int((y0 + y1) / 2), int((x0 + x1) / 2)] * paste.gain, 255)
            assert np.abs(there - expected).max() < 25
            seen += 1
    assert seen > 10


def test_at_least_half_of_every_object_is_visible_and_patches_cover_a_part(photographs):
    collection = pasted(photographs, instances=6, occluded=1.0, scale=(0.5, 3.0))
    for paste in collection.pastes:
        whole = determinant(paste.map) * math.pi * paste.ellipse.radii[0] * paste.ellipse.radii[1]
        shown = np.count_nonzero(visible(paste)) / whole
        bare = np.count_nonzero(visible(Paste(**{**vars(paste), "cover": None}))) / whole
        assert shown >= 0.48  # a few pixels of rounding
        assert bare >= 0.83
        assert 0.1 <= bare - shown <= 0.38


def test_extent_by_hand():
    """Marked pixels (row 1, columns 2 and 3) of 4 x 4: from their first edge to their last, x 2 to 4 and y 1 to 2."""
    seen = np.zeros((4, 4), dtype=bool)
    seen[1, 2:] = True
    assert extent(seen) == (2, 1, 4, 2)
    with pytest.raises(ValueError, match="nothing is visible"):
        extent(np.zeros((4, 4), dtype=bool))


@pytest.mark.parametrize("occluded", [0.0, 0.3, 1.0])
def test_the_share_of_occluded_copies(photographs, occluded):
    collection = pasted(photographs, copies=7, instances=3, occluded=occluded)
    counts = [sum(p.cover is not None for p in collection.pastes if p.instance == i) for i in range(3)]
    assert all(abs(count - 7 * occluded) < 1 for count in counts)


def test_a_share_of_less_than_one_copy_falls_to_some_instances(photographs):
    """Of two copies 0.4 are 0.8: most instances have one that is occluded, none has two."""
    pastes = pasted(photographs, copies=2, instances=10, occluded=0.4).pastes
    counts = [sum(paste.cover is not None for paste in pastes if paste.instance == one) for one in range(10)]
    assert max(counts) == 1
    assert 5 < sum(counts) < 10


def test_maps_stay_within_their_ranges():
    """Draws of a 40 x 20 object: no more than 10 degrees, half to twice the size, no shear, no mirror image."""
    ellipse, rng = inscribed((0.0, 0.0, 40.0, 20.0)), np.random.default_rng(0)
    angles, scales = [], []
    for _ in range(300):
        (a, b, _), (d, e, _) = draw_map(ellipse, 1.0, (200, 150), Ranges(10.0, (0.5, 2.0), 0.0, (1.0, 1.0)), rng)
        assert (a, b) == pytest.approx((e, -d))
        angles.append(math.degrees(math.atan2(d, a)))
        scales.append(math.hypot(a, d))
    assert -10 <= min(angles) < -9 < 9 < max(angles) <= 10
    assert 0.5 <= min(scales) < 0.52 < 1.9 < max(scales) <= 2
    assert np.mean(np.array(scales) < 1) == pytest.approx(0.5, abs=0.1)  # even in the logarithm


def test_a_large_object_is_made_to_fit():
    map = draw_map(
        inscribed((0.0, 0.0, 400.0, 20.0)),
        1.0,
        (100, 100),
        Ranges(0.0, (1.0, 1.0), 0.0, (1.0, 1.0)),
        np.random.default_rng(0),
    )
    assert reach(map, inscribed((0.0, 0.0, 400.0, 20.0)))[0] == pytest.approx(48)


def test_the_arguments_and_the_seed_decide_the_pixels(collection, photographs):
    again, other, more = pasted(photographs), pasted(photographs, seed=1), pasted(photographs, distractors=2)
    for image in (0, 7, 19):
        assert again.read(image).tobytes() == collection.read(image).tobytes() == more.read(image).tobytes()
    assert other.read(0).tobytes() != collection.read(0).tobytes()
    assert len({collection.read(image).tobytes() for image in range(26)}) == 26


@pytest.mark.parametrize("probes", [0, 4])
def test_the_fingerprint_follows_every_argument(photographs, monkeypatch, probes):
    """Whether or not the first pictures show it."""
    monkeypatch.setattr("seekloop.images.generated.pasted.PROBES", probes)
    changes = {
        "instances": 3,
        "copies": 4,
        "distractors": 5,
        "image_size": 100,
        "object_area": (0.05, 0.5),
        "rotation": 20.0,
        "scale": (0.6, 1.4),
        "shear": 0.1,
        "brightness": (0.7, 1.2),
        "occluded": 0.5,
        "seed": 1,
    }
    assert changes.keys() == DEFAULTS.keys()
    prints = {pasted(photographs, **{key: value}).fingerprint() for key, value in changes.items()}
    assert len(prints | {pasted(photographs).fingerprint()}) == len(changes) + 1
    assert pasted(photographs).fingerprint() == pasted(photographs).fingerprint()


def test_the_fingerprint_follows_the_source_and_its_boxes(photographs, monkeypatch):
    """A mark on the ant, which is not used, and other photographs of the same boxes."""
    monkeypatch.setattr("seekloop.images.generated.pasted.PROBES", 0)
    ant = photographs.annotations.image == 11
    others = copy.copy(photographs)
    others.fingerprint = lambda: "others"
    sources = (photographs, marked(photographs, crowd=ant), others)
    assert len({pasted(source).fingerprint() for source in sources}) == 3


def test_what_is_exported_is_read_back(collection, photographs, tmp_path):
    collection.export(tmp_path)
    back = ImageFolder(str(tmp_path), "boxes.csv", False, None, 0.1, None)
    assert set(back.paths) == set(collection.paths)
    assert all(problem.kind is ProblemKind.NOTE for problem in back.problems)
    told = json.loads((tmp_path / "maps.json").read_text())
    assert len(told) == 20
    for image, path in enumerate(collection.paths):
        assert back.read(back.paths.index(path)).tobytes() == collection.read(image).tobytes()
        mine = back.annotations.box[back.annotations.image == back.paths.index(path)]
        assert mine.tolist() == collection.annotations.box[collection.annotations.image == image].tolist()
        if path in told:
            assert told[path]["map"] == collection.maps[image].tolist()
            instance = collection.instances[collection.annotations.label[image]]
            assert told[path]["instance"] == instance.name == path.split("/")[0]
            assert told[path]["source"] == photographs.paths[instance.photograph]


def test_every_copy_finds_the_others(collection):
    search = annotated(collection, 2, 0)
    assert search.names == tuple(name for name in collection.annotations.classes for _ in range(2))
    assert [len(right) for right in search.setups["all"].positive] == [4] * 8


def test_it_travels_light(collection):
    copy = pickle.loads(pickle.dumps(collection))
    assert copy.read(11).tobytes() == collection.read(11).tobytes()


def test_unreadable_and_narrow_photographs_are_passed_over(tmp_path):
    """Of 14 photographs two cannot be used: the object on one of them is not cut, and neither becomes a background."""
    for image in range(14):
        Image.new("RGB", (160, 120), (10 * image, 0, 0)).save(tmp_path / f"{image:02d}.png")
    (tmp_path / "00.png").write_bytes(b"no image")
    Image.new("RGB", (400, 40)).save(tmp_path / "13.png")  # 120 x 12 pixels
    rows = "".join(f"{image:02d}.png,cat,0,0,0.5,0.5\n" for image in range(3))
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n" + rows)
    source = ImageFolder(str(tmp_path), "boxes.csv", False, None, 0.1, None)
    collection = pasted(source, instances=2, copies=9, distractors=10)
    assert {instance.photograph for instance in collection.instances} == {1, 2}
    assert not {paste.background for paste in collection.pastes} & {0, 13}
    assert set(collection.plain) == set(range(3, 13))
    with pytest.raises(ConfigError, match=r"instances=3 .*: 2 photographs of folder show an object"):
        pasted(source, instances=3)
    with pytest.raises(ConfigError, match=r"copies=10 .* 10 photographs .* not show cat. Ask for 9 or fewer"):
        pasted(source, instances=2, copies=10, distractors=0).read(0)
    with pytest.raises(ConfigError, match=r"distractors=11 .* 10 photographs that no object is cut from"):
        pasted(source, instances=2, distractors=11).fingerprint()  # before anything is described


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("instances", 0),
        ("instances", 12),
        ("copies", 1),
        ("distractors", -1),
        ("image_size", 40),
        ("object_area", (0.5, 0.1)),
        ("scale", (0.0, 1.0)),
        ("brightness", (1.0,)),
        ("occluded", 1.5),
    ],
)
def test_what_cannot_be_is_refused(photographs, key, value):
    with pytest.raises(ConfigError, match=rf"Pasted: {key}="):
        pasted(photographs, **{key: value})


def test_a_source_without_boxes_is_refused(photographs):
    with pytest.raises(ConfigError, match=r"instances=4 .*: 0 photographs of folder show an object"):
        pasted(ImageFolder(str(photographs.root), None, False, None, 0.1, None))


def test_small_difficult_and_crowded_objects_are_not_cut(photographs):
    names = {instance.name[:3] for instance in pasted(photographs, instances=11, copies=2).instances}
    assert names == {"cat", "dog"}
    image = photographs.annotations.image
    source = marked(photographs, crowd=image == 0, difficult=image == 1)
    assert {one.photograph for one in pasted(source, instances=9, copies=2).instances} == set(range(2, 11))


def test_large_objects_are_not_cut(photographs):
    """They cover 70 x 70 of 160 x 120 pixels, 0.255, but for the ant."""
    with pytest.raises(ConfigError, match=r"instances=4 .*: 0 photographs of folder show an object"):
        pasted(photographs, object_area=(0.04, 0.25))


@pytest.mark.skipif(not (SHARED / "VOCdevkit").is_dir(), reason="the VOC photographs are not here")
def test_the_voc_photographs():
    source = Voc2012(str(SHARED / "VOCdevkit"), "trainval", True, 0.1, False, None)
    collection = pasted(source, instances=15, copies=10, image_size=400)
    assert len({instance.label for instance in collection.instances}) == 15
    boxes = collection.annotations.box
    assert not box_geometry.degenerate(boxes).any()
    assert boxes.equal(box_geometry.clip(boxes))
    assert set(box_geometry.stratum(boxes)) == {"small", "medium", "large"}
    assert torch.tensor([p.cover is not None for p in collection.pastes]).float().mean() == pytest.approx(0.4)


def test_what_the_source_lost_is_told(photographs):
    lost = Problem("boxes.csv, line 2", "no image")
    source = copy.copy(photographs)
    source.problems = (lost,)
    assert pasted(source).problems == (lost,)
