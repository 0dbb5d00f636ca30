"""Re-rankers over a collection in memory."""

import math

import numpy as np
import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.local_features import LocalFeatures
from seekloop.contracts.ranking import Ranking
from seekloop.contracts.records import Example, Regions
from seekloop.graphs.affinity import Graph
from seekloop.matching.expansion import Expansion
from seekloop.matching.reranking import Diffuse, Expand, InTurn, Searched, Verify, behind, verified_first
from seekloop.store.arrays import ArrayDescriptors


def at(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def arrays(points, readable=None):
    return ArrayDescriptors(points, points, Regions(torch.tensor([[0.0, 0, 1, 1]]), None), readable)


def points(seed, count=12, shift=(0.0, 0.0)):
    """Round features of as many channels at random places, moved."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(2, 14, (count, 2)).astype(np.float32) + np.array(shift, dtype=np.float32)
    shape = np.repeat(np.eye(2, dtype=np.float32)[None], count, axis=0)
    none = np.zeros(count, dtype=np.int64)
    return LocalFeatures(mean, shape, np.arange(count), np.ones(count, dtype=np.float32), none, np.array([[20, 20]]))


def searched(descriptors, features=(), examples=(), by_region=False):
    vectors = descriptors.local if by_region else descriptors.global_
    return Searched(
        descriptors,
        by_region,
        lambda graph, _: graph.weights(vectors),
        lambda image: features[image],
        lambda example: examples[example.image],
    )


def ranking_of(descriptors, queries, examples=()):
    scores = (queries @ descriptors.global_.T).masked_fill(~descriptors.readable, -torch.inf)
    return Ranking(scores, tuple(queries.split(1)), tuple(examples) or ((),) * len(queries))


def test_average_expansion_by_hand():
    """A query at 0 takes the image at 20: it turns to 10. The image at -8, 18 apart, falls behind that at 26."""
    database, query = arrays(at(20, 26, -25, 200)), at(0)
    before = ranking_of(database, query)
    after = Expand(neighbours=1, alpha=0.0).over(searched(database))(before)
    assert before.first(3).tolist() == [[0, 2, 1]]
    assert after.first(3).tolist() == [[0, 1, 2]]
    assert after.scores[0].tolist() == pytest.approx([math.cos(math.radians(d)) for d in (10, 16, 35, 170)], abs=1e-6)


def test_expansion_by_verified_images_takes_those_with_inliers_and_leaves_others():
    database, query = arrays(at(20, 26, -25, 200)), at(0)
    before = ranking_of(database, query)
    expand = Expand(neighbours=1, alpha=0.0, source="verified").over(searched(database))
    found = expand(Ranking(before.scores, before.vectors, before.examples, torch.tensor([[0.0, 0, 7, 0]])))
    assert found.scores[0, 2].item() == pytest.approx(math.cos(math.radians(12.5)), abs=1e-6)
    nothing = expand(Ranking(before.scores, before.vectors, before.examples, torch.zeros(1, 4)))
    torch.testing.assert_close(nothing.scores, before.scores)
    with pytest.raises(ConfigError, match=r"source='verified' .*nothing was verified"):
        expand(before)


def test_verified_images_come_by_inliers_and_then_as_they_rank():
    ranking = Ranking(torch.tensor([[0.1, 0.4, 0.3, 0.2]]), (), (), torch.tensor([[5.0, 3, 5, 0]]))
    assert verified_first(ranking) == [[2, 0, 1]]


def test_expansion_of_the_database_is_that_of_augmented_descriptors():
    database, query = arrays(at(0, 10, 100, 115)), at(4)
    after = Expand(neighbours=0, augmented=1, alpha=0.0).over(searched(database))(ranking_of(database, query))
    moved = at(5, 5, 107.5, 107.5)
    torch.testing.assert_close(after.scores, query @ moved.T, atol=1e-6, rtol=0)
    assert Expansion(0).neighbours == 0


def test_regions_are_not_expanded():
    with pytest.raises(ConfigError, match=r"search\.against=whole"):
        Expand().over(searched(arrays(at(0, 10)), by_region=True))


def test_verification_puts_the_image_that_fits_first_and_touches_the_top_only():
    """Image 2 shows the example's points moved by (3, 1); image 3 too, but ranks below the top."""
    database = arrays(at(5, 10, 15, 40))
    features = [points(1), points(2), points(0, shift=(3, 1)), points(0, shift=(1, 3))]
    before = ranking_of(database, at(0), [(Example(0),)])
    after = Verify(top=3).over(searched(database, features, [points(0)]))(before)
    assert after.first(4).tolist() == [[2, 0, 1, 3]]
    assert after.inliers.tolist() == [[0, 0, 12, 0]]
    assert sorted(after.scores[0].tolist()) == sorted(before.scores[0].tolist())


def test_the_most_inliers_of_all_examples_count_and_a_limit_holds():
    database = arrays(at(5, 10, 15))
    features = [points(1), points(2), points(3)]
    examples = [points(9), points(2, shift=(1, 1)), points(3)]
    before = ranking_of(database, at(0), [(Example(0), Example(1), Example(2))])
    assert Verify().over(searched(database, features, examples))(before).inliers.tolist() == [[0, 12, 12]]
    assert Verify(examples=2).over(searched(database, features, examples))(before).inliers.tolist() == [[0, 12, 0]]


def test_a_text_is_verified_with_the_image_that_ranks_first():
    database = arrays(at(5, 10, 15))
    features = [points(1), points(2), points(1, shift=(2, 0))]
    before = ranking_of(database, at(0))
    assert Verify().over(searched(database, features))(before).inliers.tolist() == [[12, 0, 12]]
    nothing = Verify(pseudo=0).over(searched(database, features))(before)
    assert nothing.inliers.tolist() == [[0, 0, 0]]
    assert nothing.first(3).tolist() == before.first(3).tolist()


def test_where_nothing_matches_the_ranking_stays():
    database = arrays(at(5, 10, 15), torch.tensor([True, False, True]))
    features = [points(1), LocalFeatures.none(np.array([[20, 20]])), points(3)]
    before = ranking_of(database, at(0), [(Example(0),)])
    after = Verify().over(searched(database, features, [points(0)]))(before)
    assert torch.equal(after.scores, before.scores)


def test_diffusion_follows_the_arc_and_keeps_the_order_of_what_it_does_not_reach():
    """Images every 8 degrees form an arc that the query's end belongs to; the others stand alone.

    By cosine the stranger at -20 ranks above the arc's end at 32; along the arc it does not.
    """
    database, query = arrays(at(0, 8, 16, 24, 32, -20, -100, -150)), at(-1)
    before = ranking_of(database, query)
    after = Diffuse(neighbours=2, query_neighbours=1, alpha=0.9).over(searched(database))(before)
    assert before.first(4).tolist() == [[0, 1, 2, 5]]
    assert after.first(8).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert (after.scores[0, :5] > 0).all()
    assert (after.scores[0, 5:] <= -1).all()


def test_diffusion_after_verification_starts_from_what_was_verified():
    """Two arcs; the query lies at the first, but only image 4, of the second, was verified."""
    database = arrays(at(0, 8, 16, 90, 98, 106))
    features = [points(seed) for seed in (1, 2, 3, 4, 0, 6)]
    before = ranking_of(database, at(40), [(Example(0),)])
    both = InTurn(Verify(), Diffuse(neighbours=2, start="verified"))
    after = both.over(searched(database, features, [points(0)]))(before)
    assert set(after.first(3)[0].tolist()) == {3, 4, 5}
    assert after.inliers[0].tolist() == [0, 0, 0, 0, 12, 0]
    with pytest.raises(ConfigError, match=r"start='verified' .*nothing was verified"):
        Diffuse(start="verified").over(searched(database))(before)


def test_several_vectors_of_a_query_start_together():
    """The law: a query of the vectors a and b starts with the sum of the starts of a and of b, where power = 1."""
    database = arrays(at(0, 8, 16, 60, 68, 76, 140))
    settings = {"neighbours": 2, "query_neighbours": 7, "power": 1, "iterations": 200, "tolerance": 1e-9}
    diffuse = Diffuse(**settings).over(searched(database))
    single = [diffuse(ranking_of(database, at(angle))).scores.clamp(min=0) for angle in (2, 70)]
    scores = torch.ones(1, 7)
    both = diffuse(Ranking(scores, (at(2, 70),), ((),))).scores.clamp(min=0)
    torch.testing.assert_close(both, single[0] + single[1], atol=1e-5, rtol=1e-4)


def test_regional_diffusion_sums_over_regions():
    """Each image has two regions, weighted democratically; the image with a region on the query's arc ranks first."""
    regions = at(0, 170, 8, 250, 16, 300, 90, 200)
    boxes = Regions(torch.tensor([[0.0, 0, 0.5, 1], [0.5, 0, 1, 1]]), None)
    database = ArrayDescriptors(torch.ones(4, 2), regions, boxes)
    before = Ranking((at(0) @ regions.T).reshape(1, 4, 2).amax(dim=2), (at(0),), ((Example(0),),))
    after = Diffuse(neighbours=2, query_neighbours=1).over(searched(database, by_region=True))(before)
    assert set(after.first(3)[0].tolist()) == {0, 1, 2}
    assert (after.scores[0, :3] > 0).all()
    with pytest.raises(ConfigError, match=r"search\.against=whole"):
        Diffuse(start="verified").over(searched(database, by_region=True))


def test_unranked_images_stay_unranked_behind():
    scores = behind(torch.tensor([[0.3, 0.2, 0.0]]), torch.tensor([[-torch.inf, 0.5, 0.7]]))
    assert scores.tolist() == [[-torch.inf, pytest.approx(0.2), -1.0]]
    assert behind(torch.zeros(1, 2), torch.full((1, 2), -torch.inf)).tolist() == [[-torch.inf, -torch.inf]]


def test_one_image_alone():
    database = arrays(at(5))
    before = ranking_of(database, at(0), [(Example(0),)])
    sources = [Expand(neighbours=3), Verify(), Diffuse(), InTurn(Verify(), Diffuse(start="verified"))]
    for source in sources:
        after = source.over(searched(database, [points(0)], [points(0)]))(before)
        assert after.first(2).tolist() == [[0]]
    assert Graph(3).weights(database.global_).nnz == 0


@pytest.mark.parametrize(
    "source", [Expand(neighbours=2), Verify(), Diffuse(neighbours=2), InTurn(Verify(), Diffuse(start="verified"))]
)
def test_what_was_not_ranked_stays_so(source):
    """As images off the list of an index: whatever the re-ranker, they come back as they were."""
    database = arrays(at(5, 10, 15, 20))
    before = ranking_of(database, at(0), [(Example(0),)])
    before.scores[0, 2] = -torch.inf
    after = source.over(searched(database, [points(seed) for seed in range(4)], [points(0)]))(before)
    assert (after.scores[0] == -torch.inf).tolist() == [False, False, True, False]


def test_without_inliers_a_verified_start_is_that_of_the_neighbours():
    database = arrays(at(0, 8, 16, 90, 98, 106))
    before = ranking_of(database, at(40), [(Example(0),)])
    of = searched(database, [points(seed) for seed in range(1, 7)], [points(0)])
    both = InTurn(Verify(), Diffuse(neighbours=2, start="verified")).over(of)(before)
    assert torch.equal(both.scores, Diffuse(neighbours=2).over(of)(before).scores)


def test_matches_are_those_of_the_last_ranking_with_the_example_that_agrees_best():
    database = arrays(at(5, 10, 15))
    of = searched(database, [points(1), points(2), points(3)], [points(9), points(2, shift=(1, 1))])
    verify = Verify().over(of)
    verify(ranking_of(database, at(0), [(Example(0), Example(1))]))
    assert {pair: (one.example.image, one.verified.inliers) for pair, one in of.matches.items()} == {(0, 1): (1, 12)}
    verify(ranking_of(database, at(0), [(Example(0),)]))
    assert of.matches == {}
