import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.regions.graph import products_of, rows_of
from seekloop.regions.lost import degrees, seeds_of
from seekloop.regions.segments import Detector
from tests.regions.letters import ODD, check_odd, configured, drawn, maps, planted, rng, same

FOUR = torch.tensor([[[1.0, 0.0], [1.0, 2.0]], [[0.0, 3.0], [-1.0, 1.0]]])


def lost(**changed):
    return configured("lost", **changed)


def products(tokens):
    return products_of(rows_of(tokens, centre=False)).numpy()


def test_degrees_and_seeds_of_four_tokens_by_hand():
    """Products of 0 with 1, 2, 3: 1, 0, -1; of 1 with 2, 3: 6, 1; of 2 with 3: 3. So the degrees are 1, 3, 2, 2.

    0 counted as positive would give token 0 the degree 2. The three lowest are 0, 2, 3, of which 2 and 3 are not like
    0; the fourth, 1, is.
    """
    assert degrees(products(FOUR)).tolist() == [1, 3, 2, 2]
    assert seeds_of(products(FOUR), 3).tolist() == [0]
    assert seeds_of(products(FOUR), 4).tolist() == [0, 1]


def test_four_tokens_by_hand():
    """From seed 0 alone: 0 and 1. From 0 and 1, binary sums 2, 2, 1, 1; real ones 1 + 1, 1 + 5, 0 + 6, -1 + 1 = 0."""
    for affinity in ("binary", "real"):
        assert drawn(lost(k=3, affinity=affinity)(FOUR, rng())) == [["##", ".."]]
    assert drawn(lost(affinity="binary")(FOUR, rng())) == [["##", "##"]]
    assert drawn(lost(affinity="real")(FOUR, rng())) == [["##", "#."]]
    assert same(lost()(FOUR, rng()), lost(affinity="real")(FOUR, rng()))  # as released is the default
    assert lost()(FOUR, rng()).affine == pytest.approx(4 / 6)


def test_only_the_piece_of_the_seed_counts():
    """A row of + + - - - +: degrees 2 each, the seed is the first; the last + resembles it but lies apart."""
    row = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])[None, :, None]
    assert drawn(lost()(row, rng())) == [["##...."]]
    assert drawn(lost()(row[:, [0, 2, 1, 3, 4, 2]], rng())) == [["#....."]]


def test_the_length_of_tokens_matters_to_real_sums():
    """Degrees 1, 2, 2, 1: the three lowest are 0, 3, 1, the seeds 0 and 1. For 2 the sum is -1 + 0.5 = -0.5.

    With token 1 four times as long it is -1 + 2.
    """
    tokens = torch.tensor([[[1.0, 0.0], [1.0, 2.0], [-1.0, 0.75], [-3.0, -1.0]]])
    assert drawn(lost(affinity="real", k=3)(tokens, rng()))[0][0][2] == "."
    tokens[0, 1] *= 4
    assert drawn(lost(affinity="real", k=3)(tokens, rng()))[0][0][2] == "#"


@pytest.mark.parametrize("affinity", ["binary", "real"])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_object_is_found(affinity, seed):
    """The background's direction is taken off the object: they correlate negatively, as LOST expects of networks."""
    tokens, inside = planted(14, 12, (3, 8), (2, 7), seed)
    tokens = tokens - 0.3 * (torch.eye(32)[0] + torch.eye(32)[1])
    found = lost(affinity=affinity)(tokens, rng(seed))
    assert torch.equal(found.masks, inside[None])


@settings(deadline=None, max_examples=60)
@given(maps(), st.sampled_from(["binary", "real"]), st.integers(1, 120))
def test_the_seed_has_the_lowest_degree_and_is_inside(tokens, affinity, k):
    found = lost(affinity=affinity, k=k)(tokens, rng())
    table = products(tokens)
    degree, seeds = degrees(table), seeds_of(table, k)
    assert degree[seeds[0]] == degree.min()
    assert degree[seeds].tolist() == sorted(degree[seeds].tolist())
    assert len(found.masks) <= 1
    assert all(mask.flatten()[seeds[0]] for mask in found.masks)


@settings(deadline=None, max_examples=40)
@given(maps(), st.integers(1, 120))
def test_what_resembles_the_seeds_on_the_whole_resembles_one_of_them(tokens, k):
    real, binary = (lost(affinity=affinity, k=k)(tokens, rng()).masks for affinity in ("real", "binary"))
    assert len(real) == len(binary)
    assert not bool((real & ~binary).any())


@settings(deadline=None, max_examples=40)
@given(maps(), st.sampled_from(["binary", "real"]), st.integers(-20, 20), st.randoms(use_true_random=False))
def test_neither_common_length_nor_order_of_channels_matters(tokens, affinity, power, random):
    detector, order = lost(affinity=affinity), list(range(tokens.shape[2]))
    random.shuffle(order)
    assert same(detector(tokens, rng()), detector(tokens * 2.0**power, rng()))
    table = torch.from_numpy(products(tokens))
    sums = table[torch.from_numpy(seeds_of(table.numpy(), 100))].sum(dim=0)
    margin = min(table.abs().min(), sums.abs().min())
    assert margin < 1e-4 or same(detector(tokens, rng()), detector(tokens[..., order], rng()))


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("affinity", ["binary", "real"])
@pytest.mark.parametrize("name", ODD)
def test_odd_maps_give_sensible_regions(name, affinity, centre):
    detector = lost(affinity=affinity, centre=centre)
    assert isinstance(detector, Detector)
    found = check_odd(detector, name)
    if name in ("all equal", "all zero", "one token", "two alike"):
        assert len(found.masks) == 0


def test_tokens_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        lost()(torch.full((5, 5, 3), float("inf")), rng())


@pytest.mark.parametrize(("key", "value"), [("k", 0), ("affinity", "cosine"), ("connectivity", 6)])
def test_settings_that_cannot_work(key, value):
    with pytest.raises(ConfigError, match=f"^Lost: {key}="):
        lost(**{key: value})
