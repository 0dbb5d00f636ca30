import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.metrics.clustering import normalised_mutual_information as nmi


def test_by_hand():
    """Parts {0, 1}, {2, 3} and {0, 1, 2}, {3}. H = 1 bit and 2 - 3/4 log2 3 = 0.8113; I = 1 - 3/4 h(1/3) = 0.3113.

    Over the mean of the entropies: 0.3113 / 0.9056 = 0.3437. Over the geometric mean it would be 0.3456, over the
    larger one 0.3113.
    """
    assert nmi(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1])) == pytest.approx(0.34371, abs=1e-5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30), st.permutations(range(5)))
def test_it_is_symmetric_bounded_and_blind_to_names(pairs, names):
    a, b = torch.tensor(pairs).T
    value = nmi(a, b)
    assert -1e-9 <= value <= 1 + 1e-9
    assert nmi(b, a) == pytest.approx(value, abs=1e-9)
    assert nmi(torch.tensor(names)[a], b) == pytest.approx(value, abs=1e-9)
    assert nmi(a, a) == pytest.approx(1.0)
