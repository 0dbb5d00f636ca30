import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.learning import NetworkSource
from seekloop.training.conv13 import Conv13, Conv13Network


def parameters(module):
    return sum(value.numel() for value in module.parameters())


def test_it_has_the_published_number_of_parameters():
    """3,127,208 with two heads for 10 classes; the second of 128 x 10 weights, 10 norms and 10 biases is not ours."""
    network = Conv13(divisor=1, dropout=0.5, sobel=False).build(10, 0)
    assert parameters(network) + 128 * 10 + 10 + 10 == 3_127_208
    assert network.dim == network.head.in_features == 128


def test_the_last_maps_have_six_by_six_cells():
    """32, 16, 8 by pooling, then a 3x3 convolution without padding."""
    network = Conv13(8, 0.5, False).build(10, 0).eval()
    assert network.blocks(torch.zeros(1, 3, 32, 32)).shape == (1, 16, 6, 6)


def test_features_are_means_of_unit_length_and_the_head_is_linear():
    network = Conv13(16, 0.5, False).build(3, 0).eval()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = network.features(pixels)
    means = network.blocks(pixels).mean(dim=(2, 3))
    torch.testing.assert_close(features, means / means.norm(dim=1, keepdim=True))
    torch.testing.assert_close(network(pixels), features @ network.head.weight.T + network.head.bias)


def test_every_convolution_has_normalised_weights():
    """Scaling the direction of a weight changes nothing."""
    network = Conv13(16, 0.0, False).build(3, 0).eval()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = network(pixels)
    directions = [value for name, value in network.named_parameters() if name.endswith("original1")]
    assert len(directions) == 10
    with torch.no_grad():
        for value in directions:
            value.mul_(3.0)
    torch.testing.assert_close(network(pixels), before)


def test_weights_depend_on_the_seed_and_on_nothing_global():
    source = Conv13(16, 0.5, False)
    assert isinstance(source, NetworkSource)
    torch.manual_seed(1)
    first = source.build(3, 7)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again, other = source.build(3, 7), source.build(3, 8)
    for name, value in first.state_dict().items():
        assert value.equal(again.state_dict()[name])
    assert not first.head.weight.equal(other.head.weight)
    torch.manual_seed(1)
    assert state.equal(torch.get_rng_state())


def test_with_sobel_it_sees_edges_only():
    """A constant added to all colours changes the edges at the border only, which two pictures then share."""
    network = Conv13Network(3, 16, 0.0, sobel=True).eval()
    grey = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    colours = grey + torch.tensor([0.5, -1.0, 0.5])[:, None, None]
    torch.testing.assert_close(network.features(colours), network.features(grey))
    assert network.blocks[0].in_channels == 2


@pytest.mark.parametrize(
    ("given", "key"), [((3, 0.5, False), "divisor"), ((0, 0.5, False), "divisor"), ((1, 1.0, False), "dropout")]
)
def test_settings_that_cannot_work_are_refused(given, key):
    with pytest.raises(ConfigError, match=f"Conv13: {key}="):
        Conv13(*given)
