import numpy as np
import pytest
import torch

from seekloop.contracts.local_features import ChannelRegions
from seekloop.descriptors.local_features import LocalFeatureSettings, ellipses, local_features
from seekloop.matching.spatial import verify
from seekloop.regions.mser import Activations, Levels
from seekloop.training.contrastive import pooled
from seekloop.training.contrastive_matching import CommonParts, Detected, mask_of

SIZE = (26, 28, 4)


def blobs(shift=(0, 0), seed=0):
    """A map with four bright blobs in each channel, apart from each other, all moved by (rows, columns)."""
    rng = np.random.default_rng(seed)
    map_ = np.zeros((SIZE[2], *SIZE[:2]), dtype=np.float32)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for channel in range(SIZE[2]):
        for y, x in ((5, 5), (5, 17), (17, 6), (16, 18)):
            down, right = rng.uniform(-1, 1, 2) + shift
            a, b = rng.uniform(1.2, 2.2, 2)
            map_[channel] += 10 * np.exp(-(((rows - y - down) / a) ** 4 + ((columns - x - right) / b) ** 4))
    return torch.from_numpy(map_ * (map_ > 0.1)).permute(1, 2, 0)


def common():
    seen = Activations()
    seen.add(blobs().permute(2, 0, 1).numpy())
    return CommonParts.of(seen)


def region(cells, channel):
    return channel, [row for row, _ in cells], [column for _, column in cells]


SQUARE = [(row, column) for row in (1, 2) for column in (1, 2)]
BAR = [(row, column) for row in (3, 4) for column in (0, 1, 2, 3)]
OTHER = [(row, column) for row in (0, 1) for column in (3, 4)]


def three_regions():
    """Two regions in channel 0, one in channel 2."""
    each = [region(SQUARE, 0), region(BAR, 0), region(OTHER, 2)]
    ends = np.cumsum([0, *(len(rows) for _, rows, _ in each)])
    rows, columns = (np.array([one for part in each for one in part[at]]) for at in (1, 2))
    return ChannelRegions(np.array([channel for channel, _, _ in each]), ends, rows, columns)


def detected():
    map_ = np.ones((3, 6, 6), dtype=np.float32)
    map_[0, 3:5] = 2.0
    regions = three_regions()
    return Detected(local_features([map_], [regions], LocalFeatureSettings(), "query"), regions)


def cells_of(mask, channel):
    return sorted(map(tuple, mask[:, :, channel].nonzero().tolist()))


def test_masks_are_unions_of_the_regions_of_inliers_by_hand():
    """The bar is the strongest feature, the square and the other follow: inliers 0 and 2 mask channels 0 and 2."""
    one = detected()
    assert one.features.channel.tolist() == [0, 0, 2]
    assert one.features.strength.tolist() == [2.0, 1.0, 1.0]
    mask = mask_of(one, np.array([0, 2]), (6, 6, 3))
    assert cells_of(mask, 0) == sorted(BAR)
    assert bool(mask[:, :, 1].all())
    assert cells_of(mask, 2) == sorted(OTHER)
    mask = mask_of(one, np.array([0, 1]), (6, 6, 3))
    assert cells_of(mask, 0) == sorted(SQUARE + BAR)
    assert bool(mask[:, :, 1:].all())


def test_without_inliers_all_of_the_map_counts():
    """So the descriptor is the ordinary one, and the loss the plain one; also where there are no regions at all."""
    parts, first, second = common(), blobs(seed=1), torch.zeros(*SIZE)
    masks = parts.masks(parts.detect(first), parts.detect(second), SIZE)
    assert all(bool(mask.all()) for mask in masks)
    for pooling in ("gem", "max"):
        both, p = torch.stack([first, second]), torch.tensor(3.0)
        found = pooled(both, torch.stack(masks), pooling, p)
        torch.testing.assert_close(found, pooled(both, None, pooling, p))


@pytest.mark.parametrize("shift", [(0, 0), (2, 3)])
def test_what_two_maps_have_in_common_is_masked_on_both(shift):
    """A moved copy: the second mask is the first one moved, and both are of bright cells."""
    parts = common()
    first, second = blobs(), blobs(shift)
    one, other = parts.detect(first), parts.detect(second)
    assert verify(one.features, other.features, parts.matching).inliers >= 4
    masks = parts.masks(one, other, SIZE)
    assert not bool(masks[0].all(dim=0).all(dim=0).any())
    rows, columns = SIZE[0] - shift[0], SIZE[1] - shift[1]
    moved = masks[1][shift[0] :, shift[1] :]
    agree = (moved == masks[0][:rows, :columns]).float().mean()
    assert float(agree) > 0.97  # levels round, so a region may be a cell larger
    assert float(first[masks[0]].mean()) > 2 * float(first[~masks[0]].mean())
    p = torch.tensor(3.0)
    vectors = [
        pooled(patches[None], mask[None], "max", p) for patches, mask in zip((first, second), masks, strict=True)
    ]
    torch.testing.assert_close(vectors[0], vectors[1], rtol=1e-2, atol=1e-2)


def test_max_over_masks_is_the_largest_strength_of_the_inliers():
    """As the thesis says: the strengths were pooled over the regions already."""
    parts = common()
    first = blobs()
    one = parts.detect(first)
    found = verify(one.features, one.features, parts.matching)
    mask, _ = parts.masks(one, one, SIZE)
    chosen = one.features.only(found.pairs[:, 0])
    for channel in np.unique(chosen.channel):
        inside = first[:, :, channel][mask[:, :, channel]]
        assert float(inside.max()) == pytest.approx(float(chosen.strength[chosen.channel == channel].max()))


def test_gradients_pass_through_the_map_and_not_through_masks():
    parts, patches = common(), blobs().requires_grad_()
    mask, _ = parts.masks(parts.detect(patches), parts.detect(patches), SIZE)
    assert not mask.requires_grad
    pooled(patches[None], mask[None], "gem", torch.tensor(3.0)).sum().backward()
    assert bool((patches.grad[~mask] == 0).all())
    assert bool((patches.grad[mask] != 0).any())


def test_every_region_has_an_ellipse_of_its_own():
    """Masks find the region of a feature by its ellipse."""
    one = common().detect(blobs())
    mean, covariance = ellipses(one.regions)
    rows = np.concatenate([one.regions.channel[:, None], mean, covariance.reshape(len(mean), 4)], axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert Levels(1.0, 2).step == 2
