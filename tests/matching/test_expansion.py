import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Descriptors
from seekloop.matching.expansion import Augmented, Expansion
from seekloop.matching.instance_search import search
from seekloop.store.arrays import array_descriptors
from tests.graphs.clouds import on_circle


def collection(*degrees):
    return array_descriptors(on_circle(*degrees))


def degrees_of(vectors):
    return torch.rad2deg(torch.atan2(vectors[:, 1], vectors[:, 0])).tolist()


def scores_of(queries, descriptors):
    return search(descriptors, queries, by_region=False).scores


EAST = on_circle(0).float()


def test_alpha_expansion_by_hand():
    """A query at 0 finds 60 (s = 1/2) and 90 (s = 0). Alpha 1: q + (1/2) d, at atan((sqrt 3 / 4) / (5/4)).

    Averaging gives the image its full weight, at 30; so would similarities of the vectors' lengths, alpha 0.
    """
    found = Expansion(1, 1.0).expanded(EAST, collection(60, 90), scores_of(EAST, collection(60, 90)))
    assert degrees_of(found) == pytest.approx([math.degrees(math.atan(math.sqrt(3) / 5))], abs=1e-4)
    found = Expansion(1, 0.0).expanded(EAST, collection(60, 90), scores_of(EAST, collection(60, 90)))
    assert degrees_of(found) == pytest.approx([30], abs=1e-4)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1))


def test_it_searches_again():
    """An image at 70 is farther from 0 than one at -60; after averaging with 60 it is nearer."""
    descriptors = collection(60, 70, -65)
    before = scores_of(EAST, descriptors)
    after = Expansion(1, 0.0)(EAST, descriptors, before)
    assert before[0].argsort(descending=True).tolist() == [0, 2, 1]
    assert after[0].argsort(descending=True).tolist() == [0, 1, 2]
    torch.testing.assert_close(after, torch.deg2rad(torch.tensor([[30.0, 40.0, 95.0]])).cos(), rtol=0, atol=1e-5)


def test_verified_images_are_taken_in_their_order():
    """The second and the third were verified, not the first, which is nearer; a query without any stays as it is."""
    descriptors, queries = collection(10, 60, 90), EAST.expand(2, 2)
    scores = scores_of(queries, descriptors)
    found = Expansion(1, 0.0).expanded(queries, descriptors, scores, [[1, 2], []])
    assert degrees_of(found) == pytest.approx([30, 0], abs=1e-4)
    both = Expansion(10, 0.0).expanded(queries, descriptors, scores, [[1, 2], []])
    assert degrees_of(both)[0] == pytest.approx(degrees_of(on_circle(0, 60, 90).sum(dim=0)[None])[0], abs=1e-4)


def test_negative_similarities_and_unreadable_images_count_for_nothing():
    """At 120 degrees s = -1/2, whose power 2.5 has no value; an unreadable image has no vector."""
    vectors = torch.cat([on_circle(120, 30), torch.zeros(1, 2, dtype=torch.float64)])
    descriptors = array_descriptors(vectors)
    scores = scores_of(EAST, descriptors)
    assert scores[0, 2] == -torch.inf
    alone = Expansion(1, 2.5).expanded(EAST, descriptors, scores)
    torch.testing.assert_close(Expansion(50, 2.5).expanded(EAST, descriptors, scores), alone)
    again = Expansion(50, 2.5)(EAST, descriptors, scores)
    assert again[0, 2] == -torch.inf
    assert again[0, :2].isfinite().all()


def test_no_neighbours_change_nothing():
    descriptors = collection(60, 90)
    queries = on_circle(13, 77).float()
    scores = scores_of(queries, descriptors)
    assert Expansion(0).expanded(queries, descriptors, scores).equal(queries)
    assert Expansion(0)(queries, descriptors, scores).equal(scores)


def written_out(query, rows, alpha):
    """As in METHODS' reference: the mean of the query and of the weighted rows, L2-normalised."""
    parts = [query] + [d * max(float(s), 0.0) ** alpha for s, d in rows]
    mean = sum(parts) / len(parts)
    return mean / mean.norm()


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 9), st.sampled_from([0.0, 1.0, 3.0, 2.5]))
def test_equal_to_the_formula_written_out(seed, k, alpha):
    rng = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(9, 5, generator=rng), dim=1)
    queries = F.normalize(torch.randn(3, 5, generator=rng), dim=1)
    descriptors = array_descriptors(vectors)
    found = Expansion(k, alpha).expanded(queries, descriptors, scores_of(queries, descriptors))
    for query, one in zip(queries, found, strict=True):
        rows = sorted(((query @ d, d) for d in vectors), key=lambda pair: -pair[0])[:k]
        torch.testing.assert_close(one, written_out(query, rows, alpha), rtol=0, atol=1e-5)
    augmented = Augmented(descriptors, Expansion(k, alpha)).global_
    itself = Augmented(descriptors, Expansion(k, alpha), itself=True).global_
    for own, one, with_itself in zip(vectors, augmented, itself, strict=True):
        rows = sorted(((own @ d, d) for d in vectors if not d.equal(own)), key=lambda pair: -pair[0])
        torch.testing.assert_close(one, written_out(own, rows[:k], alpha), rtol=0, atol=1e-5)
        rows = [(1.0, own), *rows][:k]
        torch.testing.assert_close(with_itself, written_out(own, rows, alpha), rtol=0, atol=1e-5)


def test_an_augmented_collection_by_hand():
    """0 and 60 degrees have each other (s = 1/2), 90 has 60: each moves towards its neighbour, by half its length."""
    descriptors = Augmented(collection(0, 60, 90), Expansion(1, 1.0))
    assert isinstance(descriptors, Descriptors)
    first = math.degrees(math.atan(math.sqrt(3) / 5))
    second = 60 + degrees_of(on_circle(0) + math.cos(math.radians(30)) * on_circle(30))[0]  # 90 is nearer to 60 than 0
    third = 90 - degrees_of(on_circle(0) + math.cos(math.radians(30)) * on_circle(30))[0]
    block = descriptors.read(torch.tensor([2, 0, 1]), local=True)
    assert degrees_of(block.global_) == pytest.approx([third, first, second], abs=1e-4)
    assert degrees_of(block.local) == pytest.approx([90, 0, 60], abs=1e-4)
    assert block.image.tolist() == [2, 0, 1]


def test_augmenting_one_image_or_one_that_is_unreadable():
    torch.testing.assert_close(Augmented(collection(30), Expansion(5)).global_, on_circle(30).float())
    vectors = torch.cat([on_circle(0, 20), torch.zeros(1, 2, dtype=torch.float64)])
    found = Augmented(array_descriptors(vectors), Expansion(2, 0.0))
    assert found.global_[2].tolist() == [0, 0]
    assert degrees_of(found.global_[:2]) == pytest.approx([10, 10], abs=1e-4)
    assert scores_of(EAST, found)[0, 2] == -torch.inf


@pytest.mark.parametrize(("key", "values"), [("neighbours", (-1, 3.0)), ("alpha", (10, -1.0))])
def test_settings_that_cannot_work_are_named(key, values):
    with pytest.raises(ConfigError, match=f"Expansion: {key}="):
        Expansion(*values)
