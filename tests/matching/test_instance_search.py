import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.records import Regions
from seekloop.descriptors.whitening import Whitened, Whitening
from seekloop.matching.instance_search import GLOBAL, boxes_of_known, compare, first_highest, search
from tests.worlds import ArrayDescriptors

EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def box(number):
    return torch.tensor([number / 10, 0.0, number / 10 + 0.1, 1.0])


def world():
    """Three images of 2, 1 and 3 regions; region k of all lies at box(k).

    Cosines with east: .6 and 1 | .8 | 0, -1, .6. With north: .8, 0 | .6 | 1, 0, .8.
    """
    local = torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    whole = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    regions = Regions(torch.stack([box(k) for k in range(6)]), torch.tensor([0, 2, 3, 6]))
    return ArrayDescriptors(whole, local, regions)


def test_an_image_scores_as_its_best_region_and_says_which_by_hand():
    found = search(world(), torch.stack([EAST, NORTH]), by_region=True)
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 0.8, 0.6], [0.8, 0.6, 1.0]]))
    assert found.region.tolist() == [[1, 0, 2], [0, 0, 0]]
    ranking = found.ranking(torch.zeros(2, 3, dtype=torch.bool), 3)
    assert ranking.tolist() == [[0, 1, 2], [2, 0, 1]]
    boxes = found.boxes(world(), ranking)
    torch.testing.assert_close(boxes[0], torch.stack([box(1), box(2), box(5)]))
    torch.testing.assert_close(boxes[1], torch.stack([box(3), box(0), box(2)]))


def test_images_that_have_the_same_cells_have_the_same_boxes():
    """North is found in the second cell of image 0 and in the first of image 1, as well on both: by position."""
    cells = Regions(torch.stack([box(0), box(5)]), None)
    worlds = ArrayDescriptors(torch.eye(2), torch.stack([EAST, NORTH, NORTH, EAST]), cells)
    found = search(worlds, NORTH[None], by_region=True)
    ranking = found.ranking(torch.zeros(1, 2, dtype=torch.bool), 2)
    assert ranking.tolist() == [[0, 1]]
    assert found.boxes(worlds, ranking)[0].equal(torch.stack([box(5), box(0)]))


def test_whole_images_are_compared_by_their_global_descriptor():
    found = search(world(), EAST[None], by_region=False)
    torch.testing.assert_close(found.scores, torch.tensor([[0.0, 1.0, 0.6]]))
    assert found.region.unique().tolist() == [GLOBAL]
    assert found.boxes(world(), torch.tensor([[1, -1]]))[0, 0].tolist() == [0, 0, 1, 1]
    assert found.boxes(world(), torch.tensor([[1, -1]]))[0, 1].isnan().all()


def test_what_is_ignored_and_what_is_unreadable_is_in_no_ranking():
    worlds = world()
    worlds.readable = torch.tensor([True, False, True])
    found = search(worlds, EAST[None], by_region=True)
    assert found.ranking(torch.tensor([[True, False, False]]), 3).tolist() == [[2, -1, -1]]


def test_equal_regions_give_the_first_and_an_image_without_any_nothing():
    values, first = first_highest(torch.tensor([[2.0], [5.0], [5.0]]), torch.tensor([1, 1, 1]), 3)
    assert values[:, 0].tolist() == [-torch.inf, 5, -torch.inf]
    assert first[:, 0].tolist() == [-1, 1, -1]
    empty = Regions(torch.stack([box(0), box(1), box(2)]), torch.tensor([0, 0, 3, 3]))
    worlds = ArrayDescriptors(torch.eye(3, 2), torch.stack([NORTH, EAST, EAST]), empty)
    assert search(worlds, EAST[None], by_region=True).region.tolist() == [[GLOBAL, 1, GLOBAL]]


def test_boxes_where_they_are_known():
    found = search(world(), torch.stack([EAST, NORTH]), by_region=True)
    images, boxes = boxes_of_known(found, world(), ({2: box(0)[None], 0: box(1)[None]}, {}))
    assert images.tolist() == [[0, 2], [-1, -1]]
    torch.testing.assert_close(boxes[0], torch.stack([box(1), box(5)]))
    assert boxes[1].isnan().all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 3), st.integers(0, 99), st.integers(1, 40))
def test_ragged_images_are_searched_like_one_at_a_time(counts, queries, seed, rows):
    """Against the definition, whatever the block."""
    rng = torch.Generator().manual_seed(seed)
    total = sum(counts)
    local, whole = torch.randn(total, 5, generator=rng), torch.randn(len(counts), 5, generator=rng)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    worlds = ArrayDescriptors(whole, local, Regions(torch.rand(total, 4, generator=rng), offsets))
    vectors = torch.nn.functional.normalize(torch.randn(queries, 5, generator=rng), dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seekloop.matching.instance_search.BLOCK_ROWS", rows)
        found = search(worlds, vectors, by_region=True)
    for image, count in enumerate(counts):
        mine = worlds.local[offsets[image] : offsets[image + 1]] @ vectors.T
        for query in range(queries):
            if not count:
                assert found.scores[query, image] == -torch.inf
                continue
            torch.testing.assert_close(found.scores[query, image], mine[:, query].max())
            torch.testing.assert_close(mine[int(found.region[query, image]), query], mine[:, query].max())


def test_whitened_descriptors_are_searched_by_what_differs_between_them():
    """Image 0 has (.8, .6, 0), image 1 (.8, .36, .48): plain cosines with (.6, 0, .8) are .48 and .864.

    With (1, 0, 0) taken off, directions are (-.2, .6, 0), (-.2, .36, .48) and (-.4, 0, .8). By an axis that keeps the
    last number alone, 0 and 1.
    """
    local = torch.tensor([[0.8, 0.6, 0.0], [0.8, 0.36, 0.48]])
    worlds = ArrayDescriptors(local.flip(0), local, Regions(torch.stack([box(0)]), None))
    query, mean = torch.tensor([[0.6, 0.0, 0.8]]), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(search(worlds, query, by_region=True).scores, torch.tensor([[0.48, 0.864]]))
    centring, last = Whitening(mean, None), Whitening(mean, torch.eye(3, dtype=torch.float64)[:, 2:])
    moved = torch.tensor([[-0.2, 0.6, 0.0], [-0.2, 0.36, 0.48]])
    wanted = torch.nn.functional.cosine_similarity(moved, torch.tensor([[-0.4, 0.0, 0.8]]))
    for by_region, order in ((True, [0, 1]), (False, [1, 0])):
        found = search(Whitened(worlds, centring), centring.unit(query), by_region)
        torch.testing.assert_close(found.scores, wanted[order][None])
        assert search(Whitened(worlds, last), last.unit(query), by_region).scores[0].tolist() == order
    assert (Whitened(worlds, last).dim, Whitened(worlds, centring).dim) == (1, 3)


def test_against_both_the_better_of_region_and_whole_image_answers_by_hand():
    """East: regions 1, .8, .6; whole images 0, 1, .6, so image 1 is answered by the whole, image 2 by its region."""
    found = compare(world(), EAST[None], "both")
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 1.0, 0.6]]))
    assert found.region.tolist() == [[1, GLOBAL, 2]]
