import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.grids import grid_boxes
from seekloop.contracts.recipe import settings as recipe_settings
from seekloop.contracts.records import Batch, Regions, Tokens
from seekloop.descriptors.encoding import Encoding, FromTokens
from seekloop.descriptors.multiscale import MultiScale
from seekloop.descriptors.pool import area_weights
from seekloop.descriptors.pooling import GeM, Mean, Pooling
from seekloop.descriptors.roi import FromRegions, mask_weights, pooled, touched


def roi(**changes):
    return FromRegions(**{"pool": "gem", "p": 3.0, "eps": None, "inside": "box", "members": "cells", **changes})


ROW = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
HALF_AND_MORE = torch.tensor([[0.25, 0.0, 0.625, 1.0]])  # of a map of 1 x 4: token 1 whole, token 2 half


@pytest.mark.parametrize(
    ("pool", "members", "value"),
    [
        ("mean", "area", (2 + 4 / 2) / 1.5),
        ("mean", "cells", (2 + 4) / 2),
        ("max", "area", 4.0),
        ("max", "cells", 4.0),
        ("gem", "cells", ((8 + 64) / 2) ** (1 / 3)),
        ("gem", "area", ((8 + 64 / 2) / 1.5) ** (1 / 3)),
    ],
)
def test_a_box_over_one_and_a_half_tokens_by_hand(pool, members, value):
    weights = area_weights(HALF_AND_MORE, 1, 4)
    weights = touched(weights) if members == "cells" else weights
    assert pooled(ROW, weights, pool, 3.0, None).item() == pytest.approx(value)


def test_the_medoid_is_the_token_most_like_the_mean_by_hand():
    """Tokens at 0, 50 and 90 degrees, the last three times as long: their mean lies at 66 degrees, nearest to 50.

    The product with the mean would choose the longest. With the first two alone the mean lies at 25 degrees, as near to
    both. An empty region has the zero vector.
    """
    tokens = torch.tensor([[1.0, 0.0], [0.642788, 0.766044], [0.0, 3.0]])
    weights = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0]]) / torch.tensor([[3], [2], [1]])
    found = pooled(tokens, weights, "medoid", 3.0, None)
    torch.testing.assert_close(found[0], tokens[1])
    assert found[1].tolist() in (tokens[0].tolist(), tokens[1].tolist())
    assert found[2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("tokens", [3, 5, 14, 45, 100])
def test_an_edge_between_two_tokens_touches_one_of_them(tokens):
    """Boxes of tokens first to last, in fractions of float32, which lie a little beside the edge as often as not."""
    first, last = torch.triu_indices(tokens, tokens)
    across = torch.stack([first / tokens, (last + 1) / tokens], dim=1)
    boxes = torch.stack([across[:, 0], torch.zeros(len(first)), across[:, 1], torch.ones(len(first))], dim=1)
    place = torch.arange(tokens)
    inside = (place >= first[:, None]) & (place <= last[:, None])
    assert torch.equal(touched(area_weights(boxes, 1, tokens)) > 0, inside)


def test_a_region_thinner_than_a_token_has_the_token_it_lies_in():
    """A line at 0.3 of four tokens, without width, lies in the second; one from 0.45 to 0.55 touches two."""
    boxes = torch.tensor([[0.3, 0.0, 0.3, 1.0], [0.45, 0.0, 0.55, 1.0]])
    assert (touched(area_weights(boxes, 1, 4)) * 2).tolist() == [[0, 2, 0, 0], [0, 1, 1, 0]]


def test_negative_values_by_hand():
    """(-8 + 1) / 2 = -3.5, whose cube root is -1.518; cut at 1e-6 the first value is lost: (1 / 2) ** (1 / 3).

    p = 2 without a least value: cut at 0, sqrt(1 / 2).
    """
    tokens, weights = torch.tensor([[-2.0], [1.0]]), torch.tensor([[0.5, 0.5]])
    assert pooled(tokens, weights, "gem", 3.0, None).item() == pytest.approx(-(3.5 ** (1 / 3)))
    assert pooled(tokens, weights, "gem", 3.0, 1e-6).item() == pytest.approx(0.5 ** (1 / 3))
    assert pooled(tokens, weights, "gem", 2.0, None).item() == pytest.approx(0.5**0.5)


def test_a_mask_on_another_map_counts_by_area():
    """Masks of 2 x 4 on a map of 1 x 2: three cells on the left half (of four), one on the right: 3/4 and 1/4."""
    mask = torch.tensor([[[True, True, False, True], [True, False, False, False]]])
    torch.testing.assert_close(mask_weights(mask, 1, 2), torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    corners = torch.tensor([[[False, False, True], [True, False, False]]])
    assert mask_weights(corners, 2, 3).tolist() == [[0, 0, 0.5, 0.5, 0, 0]]
    wide = torch.tensor([[[True]]])
    torch.testing.assert_close(mask_weights(wide, 2, 2), torch.full((1, 4), 0.25, dtype=torch.float64))
    assert mask_weights(torch.zeros(1, 2, 2, dtype=torch.bool), 2, 2).tolist() == [[0.0] * 4]


class Masks:
    def of(self, image):
        return torch.tensor([[[True, False], [False, True]]])


def described(encoding, regions):
    patches = torch.arange(8.0).reshape(1, 2, 2, 2)
    batch = Batch(torch.zeros(1, 3, 8, 8), torch.tensor([0]), torch.tensor([True]))
    return encoding.describe(lambda _: Tokens(None, torch.zeros(1, 0, 2), patches), Mean(), batch, regions, 4)


def test_boxes_and_masks_of_an_image():
    """Tokens (0, 1), (2, 3), (4, 5), (6, 7): the box around the mask's corners holds all four, the mask two of them."""
    regions = Regions(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0, 1]), masks=Masks())
    assert described(roi(pool="mean"), regions).local.tolist() == [[3, 4]]
    assert described(roi(pool="mean", inside="mask"), regions).local.tolist() == [[3, 4]]
    assert described(roi(pool="gem", inside="mask"), regions).local[0, 0].item() == pytest.approx((216 / 2) ** (1 / 3))
    assert described(roi(pool="gem"), regions).local[0, 0].item() == pytest.approx(((8 + 64 + 216) / 4) ** (1 / 3))


class Sides:
    """Masks of one row and two columns: the left one on image 0, the right one on image 1."""

    def of(self, image):
        return torch.tensor([[[image == 0, image == 1]]])


@pytest.mark.parametrize("inside", ["box", "mask"])
def test_every_image_of_a_batch_is_pooled_in_its_own_regions(inside):
    """Image 1 comes first, with the tokens 1 and 2, then image 0 with 3 and 4: here the right one, there the left."""
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    regions = Regions(boxes, torch.tensor([0, 1, 2]), masks=Sides())
    tokens = Tokens(None, torch.zeros(2, 0, 1), torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, 1, 2, 1))
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([1, 0]), torch.tensor([True, True]))
    found = roi(pool="mean", inside=inside).describe(lambda _: tokens, Mean(), batch, regions, 4)
    assert found.local.tolist() == [[2], [3]]


def test_regions_without_masks_say_so():
    with pytest.raises(ConfigError, match=r"FromRegions: inside='mask'.*no masks"):
        described(roi(inside="mask"), Regions(grid_boxes([(1, 1)]), None))


@pytest.mark.parametrize("changes", [{"pool": "sum"}, {"inside": "circle"}, {"members": "most"}, {"p": 0.0}])
def test_what_is_unknown_is_refused_by_its_key(changes):
    with pytest.raises(ConfigError, match=rf"FromRegions: {next(iter(changes))}="):
        roi(**changes)


def test_every_setting_is_in_the_name_and_so_in_the_stores_key():
    others = [
        roi(**change) for change in ({"pool": "max"}, {"p": 4.0}, {"eps": 0.1}, {"inside": "mask"}, {"members": "area"})
    ]
    assert len({encoding.name for encoding in [roi(), *others]}) == 6
    assert isinstance(roi(), Encoding)
    assert isinstance(roi(), Pooling)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_by_area_and_mean_it_is_the_tokens_encoding_and_large_p_the_maximum(rows, columns, seed):
    rng = torch.Generator().manual_seed(seed)
    low = torch.rand(3, 2, generator=rng) * 0.8
    boxes = torch.cat([low, low + 0.05 + 0.15 * torch.rand(3, 2, generator=rng)], dim=1)
    regions = Regions(boxes, torch.tensor([0, 3]))
    patches = 0.5 + 0.5 * torch.rand(1, rows, columns, 4, generator=rng)
    batch = Batch(torch.zeros(1, 3, 8, 8), torch.tensor([0]), torch.tensor([True]))

    def local(encoding):
        network = lambda _: Tokens(None, torch.zeros(1, 0, 4), patches)  # noqa: E731
        return encoding.describe(network, Mean(), batch, regions, 4).local

    torch.testing.assert_close(local(roi(pool="mean", members="area")), local(FromTokens()))
    torch.testing.assert_close(local(roi(p=1.0)), local(roi(pool="mean")))
    torch.testing.assert_close(local(roi(p=101.0)), local(roi(pool="max")), rtol=0.05, atol=0)


@pytest.mark.parametrize("changed", [{}, {"pool": "mean"}, {"pool": "max"}, {"p": 2.0, "eps": 0.1}])
def test_a_whole_map_is_pooled_like_a_region_of_all_of_it(changed):
    """By hand, GeM of 1 and 2 is (9 / 2)^(1/3) = 1.651; their mean would be 1.5."""
    patches = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    whole = Regions(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), None)
    pooling = FromRegions(**changed)
    tokens = Tokens(None, patches.new_zeros(3, 0, 4), patches)
    torch.testing.assert_close(pooling(tokens), pooling.local(patches, torch.arange(3), whole))
    two = Tokens(None, torch.zeros(1, 0, 1), torch.tensor([1.0, 2.0]).reshape(1, 1, 2, 1))
    torch.testing.assert_close(FromRegions()(two), torch.tensor([[4.5 ** (1 / 3)]]))


def test_the_descriptor_of_an_image_as_the_sum_of_its_regions():
    """Each region counts alike whatever its size or strength; an image without a region is its only region."""
    rng = torch.Generator().manual_seed(5)
    patches = torch.rand(2, 4, 6, 5, generator=rng)
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.arange(2), torch.ones(2, dtype=torch.bool))
    found = {
        how: roi(global_=how).describe(
            lambda pixels: Tokens(None, patches[:, :0, 0], patches),
            Mean(),
            batch,
            Regions(boxes, torch.tensor([0, 2, 3])),
            2,
        )
        for how in ("map", "regions")
    }
    unit = torch.nn.functional.normalize(found["map"].local, dim=1)
    torch.testing.assert_close(found["regions"].global_, torch.stack([unit[0] + unit[1], unit[2]]))
    assert found["regions"].local.equal(found["map"].local)
    assert found["map"].global_.equal(patches.mean(dim=(1, 2)))
    gem = (patches[1].flatten(0, 1) ** 3).mean(dim=0) ** (1 / 3)
    torch.testing.assert_close(found["regions"].global_[1], gem / gem.norm())
    assert (roi().global_apart, roi(global_="regions").global_apart) == (True, False)
    assert roi(global_="regions").name != roi().name


def test_sums_of_regions_are_averaged_over_scales():
    """With one scale of 1 the mean changes nothing but the length; with two it is the generalised mean of both sums."""
    network = pooled_network()
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    batch = Batch(pixels, torch.tensor([0]), torch.tensor([True]))
    regions = Regions(torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.25, 1.0, 1.0]]), torch.tensor([0, 2]))
    encoding = roi(global_="regions")

    def global_(pooling, picture=pixels):
        found = encoding.describe(network, pooling, Batch(picture, batch.image, batch.readable), regions, 1).global_
        return torch.nn.functional.normalize(found, dim=1)

    single = global_(GeM())
    torch.testing.assert_close(global_(MultiScale(GeM(), (1.0,))), single)
    half = torch.nn.functional.interpolate(pixels, (16, 16), mode="bilinear", align_corners=False, antialias=True)
    both = ((single**3 + global_(GeM(), half) ** 3) / 2) ** (1 / 3)
    torch.testing.assert_close(global_(MultiScale(GeM(), (1.0, 0.5))), torch.nn.functional.normalize(both, dim=1))


def pooled_network():
    """Means of squares of 8 x 8 pixels, of a picture of any size."""

    class Squares:
        any_size = True

        def tokens(self, pixels):
            cells = torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)
            return Tokens(None, cells[:, :0, 0], cells)

        __call__ = tokens

    return Squares()


def test_recipes_of_before_there_were_sums_stay():
    assert "global_" not in recipe_settings(roi())
    assert recipe_settings(roi(global_="regions"))["global_"] == "regions"
    assert recipe_settings(roi(p=2.0))["p"] == 2.0
