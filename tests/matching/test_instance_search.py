import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.records import Regions
from seekloop.matching.instance_search import WHOLE, QueryVectors, boxes_of_known, compare, first_highest, search
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
    found = search(world(), QueryVectors(torch.stack([EAST, NORTH]), torch.arange(2)), by_region=True)
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 0.8, 0.6], [0.8, 0.6, 1.0]]))
    assert found.region.tolist() == [[1, 0, 2], [0, 0, 0]]
    ranking = found.ranking(torch.zeros(2, 3, dtype=torch.bool), 3)
    assert ranking.tolist() == [[0, 1, 2], [2, 0, 1]]
    boxes = found.boxes(world(), ranking)
    torch.testing.assert_close(boxes[0], torch.stack([box(1), box(2), box(5)]))
    torch.testing.assert_close(boxes[1], torch.stack([box(3), box(0), box(2)]))


def test_a_query_of_two_objects_wants_both():
    """East alone prefers image 0, north alone image 2; the means are .9, .7 and .8: the sum over one image's regions.

    The box is that of the object found best: east's on images 0 and 1, north's on image 2.
    """
    found = search(world(), QueryVectors(torch.stack([EAST, NORTH]), torch.zeros(2, dtype=torch.long)), by_region=True)
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.7, 0.8]]))
    assert found.region.tolist() == [[1, 0, 0]]


def test_vectors_belong_to_the_queries_that_they_name():
    """North is the second query's, though it comes first."""
    found = search(world(), QueryVectors(torch.stack([NORTH, EAST]), torch.tensor([1, 0])), by_region=True)
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 0.8, 0.6], [0.8, 0.6, 1.0]]))
    assert found.region.tolist() == [[1, 0, 2], [0, 0, 0]]


def test_of_two_objects_found_alike_the_first_ones_region_is_shown():
    """East and north are both found for certain, each on a region of its own."""
    worlds = ArrayDescriptors(EAST[None], torch.stack([NORTH, EAST]), Regions(torch.stack([box(0), box(1)]), None))
    for vectors, region in (([EAST, NORTH], 1), ([NORTH, EAST], 0)):
        found = search(worlds, QueryVectors(torch.stack(vectors), torch.zeros(2, dtype=torch.long)), by_region=True)
        assert found.region.tolist() == [[region]]


def test_images_that_have_the_same_cells_have_the_same_boxes():
    """North is found in the second cell of image 0 and in the first of image 1, as well on both: by position."""
    cells = Regions(torch.stack([box(0), box(5)]), None)
    worlds = ArrayDescriptors(torch.eye(2), torch.stack([EAST, NORTH, NORTH, EAST]), cells)
    found = search(worlds, QueryVectors(NORTH[None], torch.arange(1)), by_region=True)
    ranking = found.ranking(torch.zeros(1, 2, dtype=torch.bool), 2)
    assert ranking.tolist() == [[0, 1]]
    assert found.boxes(worlds, ranking)[0].equal(torch.stack([box(5), box(0)]))


def test_whole_images_are_compared_by_their_global_descriptor():
    found = search(world(), QueryVectors(EAST[None], torch.arange(1)), by_region=False)
    torch.testing.assert_close(found.scores, torch.tensor([[0.0, 1.0, 0.6]]))
    assert found.region.unique().tolist() == [WHOLE]
    assert found.boxes(world(), torch.tensor([[1, -1]]))[0, 0].tolist() == [0, 0, 1, 1]
    assert found.boxes(world(), torch.tensor([[1, -1]]))[0, 1].isnan().all()


def test_what_is_ignored_and_what_is_unreadable_is_in_no_ranking():
    worlds = world()
    worlds.readable = torch.tensor([True, False, True])
    found = search(worlds, QueryVectors(EAST[None], torch.arange(1)), by_region=True)
    assert found.ranking(torch.tensor([[True, False, False]]), 3).tolist() == [[2, -1, -1]]


def test_equal_regions_give_the_first_and_an_image_without_any_nothing():
    values, first = first_highest(torch.tensor([[2.0], [5.0], [5.0]]), torch.tensor([1, 1, 1]), 3)
    assert values[:, 0].tolist() == [-torch.inf, 5, -torch.inf]
    assert first[:, 0].tolist() == [-1, 1, -1]
    empty = Regions(torch.stack([box(0), box(1), box(2)]), torch.tensor([0, 0, 3, 3]))
    worlds = ArrayDescriptors(torch.eye(3, 2), torch.stack([NORTH, EAST, EAST]), empty)
    assert search(worlds, QueryVectors(EAST[None], torch.arange(1)), by_region=True).region.tolist() == [
        [WHOLE, 1, WHOLE]
    ]


def test_boxes_where_they_are_known():
    found = search(world(), QueryVectors(torch.stack([EAST, NORTH]), torch.arange(2)), by_region=True)
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
    owner = torch.arange(queries).repeat_interleave(2)
    vectors = torch.nn.functional.normalize(torch.randn(len(owner), 5, generator=rng), dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seekloop.matching.instance_search.BLOCK_ROWS", rows)
        found = search(worlds, QueryVectors(vectors, owner), by_region=True)
    for image, count in enumerate(counts):
        mine = worlds.local[offsets[image] : offsets[image + 1]] @ vectors.T
        for query in range(queries):
            if not count:
                assert found.scores[query, image] == -torch.inf
                continue
            best = mine[:, owner == query].amax(dim=0)
            torch.testing.assert_close(found.scores[query, image], best.mean())
            column = int((owner == query).nonzero()[int(best.argmax()), 0])
            torch.testing.assert_close(mine[int(found.region[query, image]), column], best.max())


def test_against_both_the_better_of_region_and_whole_image_answers_by_hand():
    """East: regions 1, .8, .6; whole images 0, 1, .6, so image 1 is answered by the whole, image 2 by its region."""
    found = compare(world(), QueryVectors(EAST[None], torch.tensor([0])), "both")
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 1.0, 0.6]]))
    assert found.region.tolist() == [[1, WHOLE, 2]]
