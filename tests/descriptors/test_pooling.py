import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Tokens
from seekloop.descriptors.pooling import Auto, ClassToken, GeM, Mean
from seekloop.descriptors.rmac import Max


def tokens(patches, cls=None):
    patches = torch.as_tensor(patches, dtype=torch.float32).reshape(1, 1, -1, 1)
    return Tokens(cls, patches.new_zeros(1, 0, 1), patches)


def test_gem_by_hand():
    """Of 1, 2, 3 with p = 2: sqrt(14 / 3). The negative one is cut: of -2, 1 with p = 2: sqrt(1 / 2)."""
    assert GeM(2.0, 1e-6)(tokens([1, 2, 3])).item() == pytest.approx((14 / 3) ** 0.5)
    assert GeM(2.0, 1e-6)(tokens([-2, 1])).item() == pytest.approx(0.5**0.5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1 / 64, 100, width=32), min_size=1, max_size=9))
def test_gem_with_p_1_is_the_mean_and_lies_below_the_maximum_for_any_p(values):
    given_tokens = tokens(values)
    torch.testing.assert_close(GeM(1.0, 1e-6)(given_tokens), Mean()(given_tokens))
    mean, cubic = GeM(1.0, 1e-6)(given_tokens).item(), GeM(3.0, 1e-6)(given_tokens).item()
    assert mean * (1 - 1e-4) <= cubic <= max(values) * (1 + 1e-4)


def test_auto_takes_the_class_token_where_there_is_one():
    cls = torch.tensor([[7.0]])
    assert Auto()(tokens([1, 3], cls)).item() == 7
    assert Auto()(tokens([1, 3])).item() == 2
    assert ClassToken()(tokens([1, 3], cls)).item() == 7
    assert Mean()(tokens([1, 3], cls)).item() == 2


def test_no_class_token_to_take():
    with pytest.raises(ConfigError, match=r"pooling='cls' .* pooling=auto"):
        ClassToken()(tokens([1, 3]))


@pytest.mark.parametrize(("p", "eps"), [(0.0, 1e-6), (-1.0, 1e-6), (3.0, 0.0), (float("nan"), 1e-6)])
def test_gem_refuses_exponents_without_meaning(p, eps):
    with pytest.raises(ConfigError, match=r"GeM: (p|eps)="):
        GeM(p, eps)


def test_gem_of_a_large_p_is_the_maximum_of_each_channel():
    """MAC; up to the root of the number of tokens, 12 ** (1 / 400) = 1.006."""
    patches = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float32) + 0.5
    many = Tokens(None, patches.new_zeros(2, 0, 5), patches)
    torch.testing.assert_close(GeM(p=100.0)(many), Max()(many), rtol=0.03, atol=0.0)
    torch.testing.assert_close(GeM(p=1.0)(many), Mean()(many))
