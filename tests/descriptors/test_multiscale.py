import pytest
import torch
from torch.nn import functional as F

from seekloop.backbones.cnn import MapTokens
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Batch, Regions, Tokens
from seekloop.descriptors.encoding import FromCrops, FromTokens
from seekloop.descriptors.multiscale import MultiScale, rescaled
from seekloop.descriptors.pooling import GeM, Mean
from seekloop.descriptors.rmac import Max
from tests.backbones.worlds import expects


class Squares(torch.nn.Module):
    """A map whose cell is the mean of an 8x8 square in each colour: so does it see how large the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return [F.avg_pool2d(pixels, 8) * self.gain]


def network(height=32, width=32):
    return MapTokens(Squares(), "squares", 3, (), expects(height, width))


def pictures(count=2, height=32, width=32):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(4))


def test_vectors_of_scales_are_averaged_by_hand():
    """A network that gives (3, 4) at 16 pixels and (1, 0) at 8: unit vectors (.6, .8) and (1, 0).

    Their mean is (.8, .4); with p = 2 roots of mean squares: (sqrt .68, sqrt .32). The mean of what is not of unit
    length would be (2, 2).
    """

    class Two:
        any_size = True

        def tokens(self, pixels):
            side = pixels.shape[3]
            row = torch.tensor([3.0, 4.0]) if side == 16 else torch.tensor([1.0, 0.0])
            return Tokens(None, torch.zeros(1, 0, 2), row.expand(1, side // 4, side // 4, 2))

        __call__ = tokens

    pixels = torch.zeros(1, 3, 16, 16)
    seen = Two().tokens(pixels)
    found = MultiScale(Mean(), (1.0, 0.5)).over_scales(Two(), pixels, seen)
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.4]]))
    found = MultiScale(GeM(2.0), (1.0, 0.5)).over_scales(Two(), pixels, seen)
    torch.testing.assert_close(found, torch.tensor([[0.68**0.5, 0.32**0.5]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("single", "p"), [(GeM(3.0), 3.0), (Mean(), 1.0), (Max(), 1.0)])
def test_against_a_slow_transcription(single, p):
    """The sizes of 32 x 48 at 1 / sqrt 2 are 22.6 x 33.9 pixels: 3 x 4 tokens of 8."""
    backbone, pixels = network(32, 48), pictures(1, 32, 48)
    want = torch.zeros(3)
    for size in ((32, 48), (24, 32), (16, 24)):
        scaled = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        vector = single(backbone.tokens(scaled))[0]
        want += (vector / vector.norm()) ** p / 3
    found = MultiScale(single).over_scales(backbone, pixels, backbone(pixels))
    torch.testing.assert_close(found[0], want ** (1 / p))


def test_one_scale_is_the_pooling_itself_at_unit_length():
    backbone, pixels = network(), pictures()
    found = MultiScale(GeM(), (1.0,)).over_scales(backbone, pixels, backbone(pixels))
    torch.testing.assert_close(found, F.normalize(GeM()(backbone(pixels)), dim=1))


@pytest.mark.parametrize("encoding", [FromTokens(), FromCrops()])
def test_encodings_see_images_at_every_scale(encoding):
    """Whichever batches they come in; regions stay as they were."""
    backbone, pixels = network(), pictures()
    batch = Batch(pixels, torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool))
    regions = Regions(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), None)
    multi = MultiScale(Mean())
    found = encoding.describe(backbone, multi, batch, regions, 1)
    torch.testing.assert_close(found.global_, multi.over_scales(backbone, pixels, backbone(pixels)))
    single = encoding.describe(backbone, Mean(), batch, regions, 2)
    assert not torch.allclose(F.normalize(found.global_, dim=1), F.normalize(single.global_, dim=1), atol=1e-5)
    assert torch.equal(found.local, single.local)


def test_small_images_keep_a_token():
    assert rescaled(8, 8, 0.1) == 8
    backbone, pixels = network(8, 8), pictures(1, 8, 8)
    found = MultiScale(Mean()).over_scales(backbone, pixels, backbone(pixels))
    torch.testing.assert_close(found, F.normalize(Mean()(backbone(pixels)), dim=1))


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match=r"takes images of one size only"):
        MultiScale().check(object())
    MultiScale().check(network())
    for scales in ((), (0.0,), (1.0, -1.0)):
        with pytest.raises(ConfigError, match="scales="):
            MultiScale(scales=scales)


def test_scales_and_pooling_are_in_the_recipe():
    kinds = [MultiScale(), MultiScale(Mean()), MultiScale(GeM(2.0)), MultiScale(scales=(1.0, 0.5))]
    assert len({str(settings(kind)) for kind in kinds}) == len(kinds)
