"""A collection that grows, shrinks or is renamed: only pictures that are not there yet are described."""

import pytest
import torch

from seekloop.regions.annotated import AnnotatedBoxes
from seekloop.regions.segments import Segments
from seekloop.store import open_store
from seekloop.store.growth import CONTENTS, spans_of
from tests.extraction.extractions import contents, extract
from tests.extraction.fakes import Noise, Patches, annotations
from tests.extraction.test_detect import Brightest, detected


class Album(Noise):
    """Pictures by number, under any names; counts how often each is decoded."""

    def __init__(self, numbers, names=None, boxes=(), corrupt=()):
        super().__init__(len(numbers))
        self.numbers, self.paths = list(numbers), list(names or (f"{number}.png" for number in numbers))
        self.annotations, self.broken = annotations(boxes), set(corrupt)
        self.decoded = []

    def read(self, image):
        self.decoded.append(self.numbers[image])
        if self.numbers[image] in self.broken:
            self.corrupt = (self.numbers[image],)
        return super().read(self.numbers[image])

    def contents(self):
        return [f"picture {number}" for number in self.numbers]

    def fingerprint(self):
        return repr((self.numbers, self.paths))


def rows(folder, position):
    """Descriptors of one image as they are read."""
    block = open_store(folder, "4x4").read(torch.tensor([position]), local=True)
    return block.global_, block.local


def test_ten_more_images_describe_ten_and_keep_the_others(tmp_path):
    said = []
    before = extract(tmp_path, Album(range(13)))
    grown = Album(range(23))
    after = extract(tmp_path, grown, say=said.append)
    assert sorted(grown.decoded) == list(range(13, 23))
    assert f"13 images are as in {before} and taken over, 10 are described" in said
    for image in (0, 7, 12):
        for old, new in zip(rows(before, image), rows(after, image), strict=True):
            assert torch.equal(old, new)
    fresh = extract(tmp_path / "fresh", Noise(23))
    for image in (13, 22):
        for new, straight in zip(rows(after, image), rows(fresh, image), strict=True):
            torch.testing.assert_close(new, straight, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("numbers", "names", "described"),
    [
        (range(6), ["renamed.png", *(f"{n}.png" for n in range(1, 6))], []),  # one file renamed: none
        ([5, 0, 3, 1], None, []),  # fewer, in another order
        ([0, 1, 9, 3, 4, 5], None, [9]),  # one changed
        ([0, 0, 1, 1], None, []),  # copies
    ],
)
def test_changed_removed_and_renamed_images(tmp_path, numbers, names, described):
    before = extract(tmp_path, Album(range(6)))
    changed = Album(numbers, names)
    after = extract(tmp_path, changed)
    assert changed.decoded == described
    for position, number in enumerate(changed.numbers):
        if number < 6:
            assert torch.equal(rows(after, position)[1], rows(before, number)[1])


class Plain(Brightest):
    """Draws nothing: two regions in every image."""

    def __call__(self, tokens, rng):
        return super().__call__(tokens, torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("numbers", "names", "fresh", "drawn"),
    [
        (range(23), None, range(13, 23), range(13, 23)),  # ten more at the end: ten
        (range(13), ["renamed.png", *(f"{n}.png" for n in range(1, 13))], [], []),  # one file renamed: none
        ([20, *range(13)], None, [20], [20, *range(13)]),  # one more in front: whoever draws by position draws anew
        ([0, 1, 21, 3, 4, 4], None, [21], [21, 4]),  # one changed, others gone, the last a copy at a place of its own
    ],
)
def test_regions_of_unchanged_images_are_taken_over(tmp_path, numbers, names, fresh, drawn):
    """And with them descriptors. Of a detector that draws, only those of images at their old positions."""
    for kind, looked_for in ((Plain, fresh), (Brightest, drawn)):
        folder, calls = tmp_path / kind.__name__, []
        extract(folder, Album(range(13)), chosen={"regions": detected(folder, kind([]), keep=("tokens",))})
        changed, regions = Album(numbers, names), detected(folder, kind(calls), keep=("tokens",))
        store = open_store(extract(folder, changed, chosen={"regions": regions}), None)
        assert len(calls) == len(looked_for)
        seen = [number for number in changed.decoded if number not in fresh]
        assert len(changed.decoded) - len(seen) == 2 * len(fresh)  # a new picture by the detector and by the backbone
        assert set(seen) <= set(drawn) - set(fresh)  # of others at most the descriptors: their maps are kept
        alone = detected(tmp_path / "fresh" / kind.__name__, kind([])).found(changed, lambda _: None)
        found = regions.found(changed, lambda _: None)
        assert all(alone.image(image).masks.equal(found.masks(image)) for image in range(len(changed.paths)))
        assert alone.score.equal(found.score)
        assert store.regions.boxes.equal(regions.located(alone).boxes)
        maps = [path for path in folder.glob("*tokens*/*.npy") if path.parent.joinpath("COMPLETE").exists()]
        assert len(maps) == 13 + len(changed.paths)


def test_boxes_alone_do_not_tell_that_drawn_regions_are_the_same(tmp_path):
    """One image, then another in front of it: the box is the same, its mask is drawn anew, and it is described anew."""

    class Drawn:
        def __call__(self, tokens, rng):
            masks = torch.ones(1, *tokens.shape[:2], dtype=torch.bool)
            masks[0, 1, 1] = bool(torch.rand(1, generator=rng) < 2)
            return Segments(masks, torch.tensor([1]), torch.tensor([1.0]), None)

    extract(tmp_path, Album([3]), chosen={"regions": detected(tmp_path, Drawn())})
    grown = Album([4, 3])
    extract(tmp_path, grown, chosen={"regions": detected(tmp_path, Drawn())})
    assert sorted(grown.decoded) == [3, 3, 4, 4]


def test_another_recipe_takes_nothing_over(tmp_path):
    extract(tmp_path, Album(range(4)))
    other = Album(range(5))
    extract(tmp_path, other, chosen={"backbone": Patches(scale=2.0)})
    assert sorted(other.decoded) == [0, 1, 2, 3, 4]
    wide = Album(range(5))
    extract(tmp_path, wide, dtype="float32")
    assert sorted(wide.decoded) == [0, 1, 2, 3, 4]


def test_an_unreadable_image_is_tried_anew(tmp_path):
    extract(tmp_path, Album(range(4), corrupt=[2]))
    repaired = Album(range(4), names=["a", "b", "c", "d"])
    after = extract(tmp_path, repaired)
    assert repaired.decoded == [2]
    assert open_store(after, "4x4").readable.all()


def test_regions_that_differ_are_described_anew(tmp_path):
    boxes = [(0, (0.0, 0.0, 0.5, 0.5)), (1, (0.2, 0.2, 0.8, 0.8))]
    moved = [boxes[0], (1, (0.1, 0.2, 0.8, 0.8))]
    extract(tmp_path, Album(range(2), boxes=boxes), chosen={"regions": AnnotatedBoxes()})
    again = Album(range(2), names=["x", "y"], boxes=moved)
    extract(tmp_path, again, chosen={"regions": AnnotatedBoxes()})
    assert sorted(again.decoded) == [0, 1]  # boxes are a part of the recipe


def test_a_grown_store_that_is_killed_goes_on(tmp_path):
    extract(tmp_path, Album(range(6)))
    straight = contents(extract(tmp_path / "one", Album(range(6))))
    assert CONTENTS in straight

    class Dies(Album):
        def read(self, image):
            if self.numbers[image] == 9:
                raise KeyboardInterrupt
            return super().read(image)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        extract(tmp_path, Dies(range(12)))
    after = Album(range(12))
    folder = extract(tmp_path, after)
    assert min(after.decoded) >= 8
    other = extract(tmp_path / "one", Album(range(12)))
    found, wanted = contents(folder), contents(other)
    assert {name: found[name] for name in found if name.endswith(".npy")} == {
        name: wanted[name] for name in wanted if name.endswith(".npy")
    }


def test_batches_by_hand():
    """Images 0 to 9, of which 0 to 2 and 6 are known: batches of two for the rest, none across a known one."""

    known = torch.tensor([4, 5, 6, -1, -1, -1, 0, -1, -1, -1]) >= 0
    assert spans_of(0, 10, 2, known) == ([(3, 5), (5, 6), (7, 9), (9, 10)], [(0, 3), (6, 7)])
    assert spans_of(4, 8, 2, known) == ([(4, 6), (7, 8)], [(6, 7)])
    assert spans_of(0, 5, 2, None) == ([(0, 2), (2, 4), (4, 5)], [])


def test_damaged_neighbours_are_passed_over(tmp_path):
    first = extract(tmp_path, Album(range(4)))
    (first / CONTENTS).write_text("[")
    again = Album(range(4), names=["a", "b", "c", "d"])
    extract(tmp_path, again)
    assert len(again.decoded) == 4
