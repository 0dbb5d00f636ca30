import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.contracts.records import Regions
from seekloop.matching import cross_matching as module
from seekloop.matching.cross_matching import cross_match
from seekloop.store.arrays import ArrayDescriptors
from tests.graphs.clouds import on_circle


def ragged(vectors, counts, readable=None):
    """Images with so many regions each."""
    offsets = F.pad(torch.tensor(counts).cumsum(0), (1, 0))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(vectors), 4)
    global_ = torch.ones(len(counts), vectors.shape[1])
    return ArrayDescriptors(global_, vectors.float(), Regions(boxes, offsets), readable)


def test_by_hand():
    """A query of regions at 0 and 90; images {0, 90} and {0, 0, 0} and {45}.

    Best counterparts: 1 + 1; 1 + 0; 2 cos 45. A mean over the image's regions, or the best pair alone, would not tell
    the first from the second; matching from the image's side would give the second 3.
    """
    descriptors = ragged(on_circle(0, 90, 0, 0, 0, 45), [2, 3, 1])
    found = cross_match(descriptors, on_circle(0, 90).float(), torch.tensor([0, 0]), 1)
    torch.testing.assert_close(found, torch.tensor([[2.0, 1.0, 2**0.5]]))


def test_images_and_queries_without_regions():
    """An image without regions, or one that could not be read, comes last; a query without regions knows nothing."""
    descriptors = ragged(on_circle(0, 90), [1, 0, 1], torch.tensor([True, True, False]))
    found = cross_match(descriptors, on_circle(180).float(), torch.tensor([1]), 2)
    torch.testing.assert_close(found, torch.tensor([[0.0, -torch.inf, -torch.inf], [-1.0, -torch.inf, -torch.inf]]))


@settings(deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1, 3, 2**16]))
def test_equal_to_the_formula_written_out(seed, rows):
    rng = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 4, (7,), generator=rng).tolist()
    vectors = F.normalize(torch.randn(sum(counts), 4, generator=rng), dim=1)
    queries = F.normalize(torch.randn(6, 4, generator=rng), dim=1)
    owner = torch.randint(0, 3, (6,), generator=rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", rows)
        found = cross_match(ragged(vectors, counts), queries, owner, 3)
    images = vectors.split(counts)
    for query in range(3):
        for image, regions in enumerate(images):
            wanted = sum(max(float(v @ r) for r in regions) for v in queries[owner == query])
            assert float(found[query, image]) == pytest.approx(wanted, abs=1e-5)
