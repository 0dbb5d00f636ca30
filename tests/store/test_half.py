import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.store.half import unit_products, unit_rows

EVERY_FINITE = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16)
EVERY_FINITE = EVERY_FINITE[EVERY_FINITE.isfinite()]


def test_every_finite_half_is_widened_exactly():
    """Beside a number so large that the length is that number, each keeps its own share of it."""
    rows = torch.stack([torch.full_like(EVERY_FINITE, 60000.0), EVERY_FINITE], dim=1)
    wide = rows.double()
    expected = wide / wide.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit_rows([rows]).double(), expected, rtol=3e-7, atol=0)


def test_by_hand():
    """(3, 4) has length 5; nothing has no direction."""
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]], dtype=torch.float16)
    np.testing.assert_allclose(unit_rows([rows]).numpy(), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)
    products = unit_products([rows], torch.tensor([[1.0, 0.0], [1.0, 10.0]]))
    np.testing.assert_allclose(products.numpy(), [[0.6, 8.6], [0, 0], [-1, -1]], rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.lists(st.sampled_from([0, 1, 3, 2047, 2049, 4500]), min_size=1, max_size=5))
def test_tables_are_read_one_after_the_other_whatever_their_sizes(seed, sizes):
    rng = torch.Generator().manual_seed(seed)
    parts = [torch.randn(size, 5, generator=rng).half() for size in sizes]
    weights = torch.randn(3, 5, generator=rng)
    unit = F.normalize(torch.cat(parts).float(), dim=1)
    torch.testing.assert_close(unit_rows(parts), unit, rtol=0, atol=1e-6)
    torch.testing.assert_close(unit_products(parts, weights), unit @ weights.T, rtol=0, atol=1e-5)


def test_a_part_of_a_table_is_read_where_it_lies():
    table = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).half()
    assert unit_rows([table[7:19]]).equal(unit_rows([table])[7:19])
    assert unit_rows([table[::3]]).equal(unit_rows([table])[::3])
