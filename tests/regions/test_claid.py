import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_object, instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.commands.configs import load_entry
from seekloop.contracts.boxes import iou
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.recipe import settings as settings_of
from seekloop.regions.claid import Claid, energetic_tokens, likeness, node_of, released_boxes
from seekloop.regions.cuts import NormalisedCut
from seekloop.regions.graph import gram
from seekloop.regions.segments import Detector, Segments, components, mask_boxes

CONF = Path(__file__).parents[2] / "conf" / "detector"
CLAIDS = sorted(CONF.glob("claid*.yaml"))


def claid(name="claid", **changed):
    given = load_entry(CONF / f"{name}.yaml")
    given["bisect"] = instantiate(given["bisect"])
    return get_object(given.pop("_target_"))(**(given | changed))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Halves:
    """The right half of the columns that the node's tokens lie in, in a map of `width` columns."""

    def __init__(self, width):
        self.width, self.nodes = width, []

    def __call__(self, node, variant, rng):
        column = node.members % self.width
        self.nodes.append(node.members.tolist())
        return column >= (column.min() + column.max() + 1) // 2


STRIPES = torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0, 1.0])[:, None] * torch.eye(3)[[0, 0, 1, 1, 2, 2]]
MAP = STRIPES.expand(2, 6, 3).clone()  # columns of three directions, two of each; the first two are energetic


def halved(**changed):
    settings = {"variant": "paper", "smallest": 2, "bisect": Halves(6)} | changed
    detector = claid(**settings)
    return detector(MAP, rng()), detector.bisect.nodes


def columns(found):
    return ["".join(str(int(column)) for column in mask[0].nonzero()) for mask in found.masks]


def test_a_tree_by_hand():
    """Two rows, six columns a a b b c c; the a are the energetic third (the fourth largest energy is that of the last).

    012 has the likeness (4 * 3 + 2) / 30 = 0.47 and the purity 4 / 6; 345 the likeness 0.47 and the purity 0, and is
    cut on though it is no region. Next come 0 (all alike), 12 (a b, 4 / 12 = 0.33, purity 1 / 2), 3, 45, then 1 and 2.
    """
    found, cut = halved()
    assert columns(found) == ["012", "0", "12", "1"]
    assert found.level.tolist() == [1, 2, 2, 3]
    torch.testing.assert_close(found.score, torch.tensor([4 / 6, 1.0, 1 / 2, 1.0]))
    assert cut == [list(range(12)), [0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11], [1, 2, 7, 8]]
    assert found.affine == pytest.approx(3 * 4 * 3 / (12 * 11))


def test_what_is_alike_enough_is_a_region_but_not_cut():
    """The likeness of 012 and 345 is 14 / 30 = 0.467; the released code adds 6 to the 14: 20 / 30."""
    assert columns(halved(termination=0.46)[0]) == ["012"]
    assert columns(halved(termination=0.47)[0]) == ["012", "0", "12", "1"]
    assert columns(halved(termination=0.66, variant="released")[0]) == ["012"]
    assert columns(halved(termination=0.67, variant="released")[0]) == ["012", "0", "12", "1"]
    assert [0, 6] in halved(termination=None, smallest=1)[1]
    assert [0, 6] not in halved(termination=1.0, smallest=1)[1]  # column 0 alone, whose likeness is 1


def test_a_region_must_hold_more_than_the_share_of_its_variant():
    """Columns 012 hold 4 energetic tokens of 6; 12 hold 2 of 4; a share of 1 / 2 is not above 1 / 2."""
    assert columns(halved(purity=0.5)[0]) == ["012", "0", "1"]
    assert columns(halved(purity={"paper": 0.7, "released": 0.0})[0]) == ["0", "1"]
    assert columns(halved(purity=None)[0]) == ["012", "345", "0", "12", "3", "45", "1", "2"]


def test_an_image_whose_tokens_are_alike_is_cut_by_the_released_code_only():
    """Algorithm 1: the root is cut if its likeness is below tau_1. Two directions with a cosine of 0.6 are alike."""
    near = torch.tensor([[1.0, 0.0], [0.6, 0.8]])[[0, 0, 0, 1, 1, 1]].expand(4, 6, 2)
    changed = {"purity": None, "smallest": 2}
    assert columns(claid(**changed)(near, rng())) == []
    assert sorted(columns(claid(**changed, variant="released")(near, rng()))) == ["012", "345"]
    assert sorted(columns(claid(**changed, alpha=0.7)(near, rng()))) == ["012", "345"]  # likeness 0.48
    found = halved(termination=0.3)[0]  # of the stripes: 3 * 4 * 3 / (12 * 11) = 0.273 is below 0.3 ...
    assert columns(found) == ["012"]
    assert columns(halved(termination=0.27)[0]) == []  # ... and not below 0.27


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_plain_bisection_has_as_many_regions_as_table_8_counts(depth):
    """14.0, 62.0 and 254.0 regions an image for depths 3, 5 and 7: 2 + 4 + ... + 2^D, all of each level disjoint."""
    tokens = torch.randn(16, 16, 8, generator=rng(4))
    found = claid("claid_depth", max_depth=depth)(tokens, rng())
    assert len(found.masks) == 2 ** (depth + 1) - 2
    assert found.level.bincount().tolist() == [0, *(2**level for level in range(1, depth + 1))]
    for level in found.level.unique():
        assert found.masks[found.level == level].sum(dim=0).eq(1).all()  # every token on every level
    assert any(len(components(mask.numpy(), 8, 1)) > 1 for mask in found.masks)


def test_levels_and_smallest_pieces_are_limits():
    assert columns(halved(purity=None, max_depth=1)[0]) == ["012", "345"]
    assert columns(halved(purity=None, smallest=4)[0]) == ["012", "345", "12", "45"]
    assert columns(halved(purity=None, smallest=6)[0]) == ["012", "345"]
    assert halved(purity=None, max_depth=1)[1] == [list(range(12))]  # and nothing is cut in vain
    assert columns(halved(purity=None, max_depth=2, termination=None)[0]) == ["012", "345", "0", "12", "3", "45"]


def test_pieces_of_a_side_hang_together_by_corners():
    """Sides of a chequered map are one piece each; those of stripes, three and three."""
    directions = torch.eye(4)
    for pattern, pieces in (
        (torch.arange(36).reshape(6, 6) // 6 + torch.arange(6), 2),
        (torch.arange(6).expand(6, 6), 6),
    ):
        found = claid(smallest=3, purity=None, max_depth=1)(directions[pattern % 2], rng())
        assert len(found.masks) == pieces


def test_energy_is_the_sum_of_absolute_values():
    """(3, 3) has 6, (5, 0) has 5, though it is longer; (-4, 1) has 5 too and comes along at the threshold."""
    tokens = torch.tensor([[5.0, 0.0], [3.0, 3.0], [1.0, 0.0], [-4.0, 1.0]])
    assert energetic_tokens(tokens[:3], 0.3).tolist() == [False, True, False]
    assert energetic_tokens(tokens, 0.5).tolist() == [True, True, False, True]


@pytest.mark.parametrize(("tokens", "many"), [(10, 3), (4, 2), (11, 4), (3, 1), (1, 1), (90, 27)])
def test_the_threshold_is_at_the_floor_of_seven_tenths(tokens, many):
    """Of 4: the one at place 2 (2.8 rounded down), so 2; of 90 at place 63, which 0.7 * 90 in floats just misses."""
    assert energetic_tokens(torch.arange(1.0, tokens + 1)[:, None], 0.3).sum() == many


def test_likeness_by_hand():
    """Four tokens of directions a a a b: 6 of 12 ordered pairs, and 6 of weight 1e-5; with themselves 4 / 12 more."""
    node = node_of(torch.eye(2)[[0, 0, 0, 1]], 0.2)
    assert likeness(node, diagonal=False) == pytest.approx(6 / 12 + 6e-5 / 12, abs=1e-9)
    assert likeness(node, diagonal=True) == pytest.approx(10 / 12 + 6e-5 / 12, abs=1e-9)


def test_a_part_has_degrees_of_its_own():
    assert node_of(torch.eye(2), 0.0).alike.tolist() == [1, 1]  # a cosine of 0 is not above 0
    node = node_of(torch.eye(3)[[0, 1, 0, 2, 0]], 0.2)
    assert node.alike.tolist() == [3, 1, 3, 1, 3]
    part = node.part(np.array([2, 3, 4]), np.array([2, 3, 4]))
    assert part.alike.tolist() == [2, 1, 2]
    assert np.array_equal(part.cosines, node.cosines[2:, 2:])


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 600])
def test_products_are_those_of_all_rows_and_symmetric(rows):
    values = torch.randn(rows, 5, generator=rng())
    torch.testing.assert_close(gram(values), values @ values.T)
    assert torch.equal(gram(values), gram(values).T)


def test_boxes_of_the_released_code_by_hand():
    """Ten columns of 8 pixels. Tokens 2 to 7: the right edge is 64 pixels, released 7 * 9 = 63; to 9: 80, released 81.

    Three rows; to row 2: 24 pixels, released 2 * 9 = 18.
    """
    masks = torch.zeros(2, 3, 10, dtype=torch.bool)
    masks[0, 1:3, 2:8] = masks[1, 0:2, 5:10] = True
    torch.testing.assert_close(
        released_boxes(masks, 8), torch.tensor([[0.2, 1 / 3, 63 / 80, 18 / 24], [0.5, 0.0, 1.0, 9 / 24]])
    )
    torch.testing.assert_close(mask_boxes(masks)[0], torch.tensor([0.2, 1 / 3, 0.8, 1.0]))


def planted(seed):
    """Two blocks of strong tokens of a direction each on a weak background of a third, which slowly turns."""
    lean = torch.linspace(0.0, 0.6, 30)[None, :, None] * torch.eye(32)[3]
    tokens = (torch.eye(32)[0] + lean).repeat(24, 1, 1)
    tokens[4:12, 3:11], tokens[12:21, 17:26] = 3 * torch.eye(32)[1], 3 * torch.eye(32)[2]
    return tokens + 0.05 * torch.randn(24, 30, 32, generator=rng(seed))


PLANTED = torch.tensor([[3 / 30, 4 / 24, 11 / 30, 12 / 24], [17 / 30, 12 / 24, 26 / 30, 21 / 24]])


@pytest.mark.parametrize("entry", CLAIDS, ids=lambda entry: entry.stem)
@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("seed", range(3))
def test_planted_blocks_are_found(entry, variant, seed):
    found = claid(entry.stem, variant=variant)(planted(seed), rng(seed))
    overlap = iou(PLANTED, mask_boxes(found.masks))
    assert overlap.amax(dim=1).min() > 0.99
    assert found.score[overlap.argmax(dim=1)].min() > 0.99


@st.composite
def maps(draw):
    """Patches of a few directions with noise, of many shapes."""
    h, w, d = draw(st.integers(1, 14)), draw(st.integers(1, 14)), draw(st.integers(1, 6))
    made = rng(draw(st.integers(0, 2**31)))
    seeds = torch.rand(4, 2, generator=made) * torch.tensor([h, w])
    cells = torch.cartesian_prod(torch.arange(h), torch.arange(w)).float()
    owner = torch.cdist(cells, seeds).argmin(dim=1)
    noise = draw(st.sampled_from([0.0, 0.3, 1.0])) * torch.randn(h * w, d, generator=made)
    return (torch.randn(4, d, generator=made)[owner] + noise).reshape(h, w, d)


@settings(deadline=None, max_examples=60)
@given(maps(), st.sampled_from(["claid", "claid_ncut", "claid_random_start"]), st.booleans())
def test_the_tree_is_a_tree(tokens, name, released):
    """Pieces are connected by corners, are not too small, lie in one piece of the level above, never are the image."""
    detector = claid(name, variant="released" if released else "paper", smallest=3, purity=None)
    found = detector(tokens, rng())
    assert not found.masks.flatten(1).all(dim=1).any()
    for mask, level in zip(found.masks, found.level, strict=True):
        assert len(components(mask.numpy(), 8, 3)) == 1
        above = found.masks[found.level == level - 1]
        assert level == 1 or (above & mask).eq(mask).flatten(1).all(dim=1).sum() == 1
    for level in found.level.unique():
        assert found.masks[found.level == level].sum(dim=0).max() == 1
    assert found.level.tolist() == sorted(found.level.tolist())


@settings(deadline=None, max_examples=30)
@given(maps(), st.integers(-20, 20), st.integers(0, 99))
def test_the_length_of_all_tokens_together_does_not_matter(tokens, power, seed):
    """Powers of two, which are exact: others round cosines differently, which may decide a tie."""
    detector = claid(smallest=3)
    assert same(detector(tokens, rng(seed)), detector(tokens * 2.0**power, rng(seed)))


def same(one, other):
    return (
        all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("masks", "level", "score"))
        and one.affine == other.affine
    )


@settings(deadline=None, max_examples=30)
@given(maps())
def test_the_filter_and_the_limit_of_depth_only_leave_out(tokens):
    everything, some, shallow = (
        claid(smallest=3, **changed)(tokens, rng())
        for changed in ({"purity": None}, {"purity": 0.2}, {"purity": None, "max_depth": 1})
    )
    kept = everything.score > 0.2
    assert same(some, Segments(everything.masks[kept], everything.level[kept], everything.score[kept], some.affine))
    first = everything.level == 1
    assert torch.equal(shallow.masks, everything.masks[first])


DEGENERATE = {
    "all equal": torch.full((20, 20, 4), 0.7),
    "all zero": torch.zeros(20, 20, 4),
    "one token": torch.ones(1, 1, 4),
    "fewer than fifteen": torch.randn(2, 7, 4, generator=rng()),
    "just fifteen": torch.randn(3, 5, 4, generator=rng()),
    "ten to one": torch.randn(6, 60, 4, generator=rng()),
    "one row": torch.randn(1, 80, 4, generator=rng()),
    "some of length 0": torch.randn(16, 16, 4, generator=rng()) * (torch.arange(16) > 5)[:, None, None],
    "huge": 1e37 * torch.randn(16, 16, 4, generator=rng()),
    "half precision": torch.randn(16, 16, 4, generator=rng()).half(),
    "one dimension": torch.randn(16, 16, 1, generator=rng()),
}


@pytest.mark.parametrize("entry", CLAIDS, ids=lambda entry: entry.stem)
@pytest.mark.parametrize("name", DEGENERATE)
def test_odd_maps_give_sensible_regions(name, entry):
    detector = claid(entry.stem)
    assert isinstance(detector, Detector)
    found = detector(DEGENERATE[name], rng())
    assert found.score.isfinite().all()
    assert found.masks.flatten(1).sum(dim=1).ge(detector.smallest).all()
    assert found.masks.shape[1:] == DEGENERATE[name].shape[:2]
    if (name, entry.stem) == ("all zero", "claid_random_start"):
        return  # nothing gains, so that the random bisections stand
    if entry.stem == "claid_depth" and name.startswith(("fewer", "just")):
        return  # it has no smallest size
    if name in ("all equal", "all zero", "one token", "fewer than fifteen", "just fifteen"):
        assert len(found.masks) == len(found.boxes) == len(found.level) == 0
    wanted = {"all equal": 1.0, "all zero": 0.0, "one token": None}
    assert name not in wanted or found.affine == wanted[name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tokens_that_are_not_finite_are_refused(value):
    tokens = torch.ones(5, 5, 3)
    tokens[2, 2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        claid()(tokens, rng())


def test_equal_generators_give_equal_regions_and_the_global_one_is_left_alone():
    tokens = torch.randn(16, 16, 3, generator=rng(3))
    state = torch.get_rng_state()
    one, two = (claid(smallest=3)(tokens, rng(5)) for _ in range(2))
    assert same(one, two)
    assert torch.equal(torch.get_rng_state(), state)


DIFFERS = {
    "claid": set(),
    "claid_depth": {"termination", "max_depth", "purity", "smallest", "connected"},
    "claid_ncut": {"bisect"},
    "claid_no_filter": {"purity"},
    "claid_random_start": {"bisect"},
}


@pytest.mark.parametrize("entry", CLAIDS, ids=lambda entry: entry.stem)
def test_a_variant_differs_from_claid_in_what_its_name_says(entry):
    base, mine = load_entry(CONF / "claid.yaml"), load_entry(entry)
    assert {key for key in base if base[key] != mine[key]} == DIFFERS[entry.stem]
    assert isinstance(instantiate(mine), Claid)


def test_every_setting_is_part_of_what_names_the_regions_found():
    """Regions are kept under the detector's settings as plain values: what is not among them would be mixed up."""
    base = settings_of(claid())
    assert json.loads(json.dumps(base)) == base
    assert base["purity"] == 0.2
    assert settings_of(claid(variant="released"))["purity"] == 0.1
    changed = {"variant": "released", "alpha": 0.3, "termination": None, "purity": 0.3, "smallest": 9, "energetic": 0.4}
    changed |= {"max_depth": 3, "connected": False, "bisect": NormalisedCut("lanczos")}
    assert set(changed) == set(base) - {"class", "revision"}
    for key, value in changed.items():
        assert settings_of(claid(**{key: value})) != base


@pytest.mark.parametrize(
    ("key", "value"),
    [("variant", "both"), ("alpha", 1.0), ("smallest", 0), ("energetic", 0.0), ("energetic", 1.5), ("max_depth", 0)],
)
def test_settings_that_cannot_work(key, value):
    with pytest.raises(ConfigError, match=f"^Claid: {key}="):
        claid(**{key: value})


def test_only_the_released_variant_has_the_released_boxes():
    """The same tokens under both variants: around the masks, and as released, whose far edges are elsewhere."""
    tokens = torch.randn(12, 12, 16, generator=torch.Generator().manual_seed(0)).cumsum(0).cumsum(1)
    for variant in ("paper", "released"):
        found = claid(variant=variant)(tokens, rng())
        assert len(found.masks)
        want = mask_boxes(found.masks) if variant == "paper" else released_boxes(found.masks, 8)
        assert found.boxes.equal(want)
