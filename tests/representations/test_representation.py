import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.randomness import generator
from seekloop.contracts.records import Answer, ArrayBlock, Feedback
from seekloop.contracts.scorers import LinearScorer
from seekloop.representations.fusion import Concat, NoFusion, Pool
from seekloop.representations.local import GLOBAL, PROTOTYPE, All, GlobalOnly, OneProto, OneRand
from seekloop.representations.representation import Representation

CONCAT, POOL = Concat(), Pool()
HALVES = torch.tensor([[0.0, 0, 0.5, 1], [0.5, 0, 1, 1]])
# Image 0: g = (1, 0), cells (0, 1) and (1, 0). Image 1: g = (0, 1), one cell (-1, 0).
BLOCK = ArrayBlock(
    torch.tensor([0, 1]),
    torch.tensor([[1.0, 0], [0, 1]]),
    torch.tensor([[0.0, 1], [1, 0], [-1, 0]]),
    torch.tensor([0, 2, 3]),
)


def relevant(box):
    return Feedback(0, Answer.RELEVANT, box, 0.0)


def test_image_scores_by_hand():
    """f(x) = 2 x0 + x1 - 1. Image 0: cells 0 and 1, best 1. Image 1: cell -3."""
    scorer = LinearScorer(torch.tensor([[2.0, 1]]), torch.tensor([-1.0]))
    assert scorer.of_block(BLOCK, Representation(All(), NoFusion())).tolist() == [[1.0, -3.0]]


def test_the_prototype_competes():
    """f(x) = x0 + x1. Image 0: cells score 1 and 1, their mean (.5, .5) scores 1; of unit length it scores sqrt 2."""
    scorer = LinearScorer(torch.tensor([[1.0, 1]]), torch.tensor([0.0]))
    plain = scorer.of_block(BLOCK, Representation(OneProto(renorm=False), NoFusion()))
    unit = scorer.of_block(BLOCK, Representation(OneProto(renorm=True), NoFusion()))
    torch.testing.assert_close(plain, torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(unit, torch.tensor([[2**0.5, -1.0]]))


def test_fused_scores_by_hand():
    """Concat, w = (1, 0 | 0, 1): g0 + l1. Image 0: 1 + max(1, 0) = 2. Image 1: 0 + 0. Pool, w = (2, 0): g0 + l0."""
    concat = LinearScorer(torch.tensor([[1.0, 0, 0, 1]]), torch.tensor([0.0]))
    pool = LinearScorer(torch.tensor([[2.0, 0]]), torch.tensor([0.0]))
    assert concat.of_block(BLOCK, Representation(All(), CONCAT)).tolist() == [[2.0, 0.0]]
    assert pool.of_block(BLOCK, Representation(All(), POOL)).tolist() == [[2.0, -1.0]]


def test_vectors_by_hand():
    """(image 0, cell 1), (image 1, prototype = its only cell), (image 0, whole)."""
    position, region = torch.tensor([0, 1, 0]), torch.tensor([1, PROTOTYPE, GLOBAL])
    assert Representation(OneProto(renorm=False), POOL).vectors(BLOCK, position, region).tolist() == [
        [1.0, 0.0],
        [-0.5, 0.5],
        [1.0, 0.0],
    ]


def test_concatenation_alone_drops_the_negatives_of_relevant_images():
    box, rng = torch.tensor([0.0, 0, 0.4, 1]), generator(0, "x")
    assert Representation(All(), NoFusion()).rows(relevant(box), HALVES, None, rng).label.tolist() == [1, -1]
    assert Representation(All(), CONCAT).rows(relevant(box), HALVES, None, rng).label.tolist() == [1]
    assert Representation(All(), Pool()).rows(relevant(box), HALVES, None, rng).label.tolist() == [1, -1]
    dropped = Pool(keep_pos_negatives=False)
    assert Representation(All(), dropped).rows(relevant(box), HALVES, None, rng).label.tolist() == [1]


def test_a_region_stands_in_for_a_box_nobody_drew_and_the_others_train_nothing():
    """The same box, drawn, makes the other half irrelevant. Where nothing scored highest, every half is relevant."""
    rng, lo_all = generator(0, "x"), Representation(All(), NoFusion())
    for drawn, best, rows in ((None, 1, {1: 1}), (HALVES[1], 0, {0: -1, 1: 1}), (None, None, {0: 1, 1: 1})):
        choice = lo_all.rows(relevant(drawn), HALVES, best, rng)
        assert dict(zip(choice.region.tolist(), choice.label.tolist(), strict=True)) == rows
    choice = Representation(OneRand(), NoFusion()).rows(relevant(None), HALVES, 1, rng)
    assert (choice.region.tolist(), choice.label.tolist()) == ([1], [1])
    assert Representation(OneRand(), NoFusion()).rows(relevant(None), HALVES, None, rng).region.tolist() == [PROTOTYPE]


def test_unsure_trains_nothing():
    unsure = Feedback(0, Answer.UNSURE, None, 0.0)
    assert len(Representation(All(), NoFusion()).rows(unsure, HALVES, 0, generator(0, "x")).label) == 0


def test_fusion_without_regions_is_refused():
    with pytest.raises(ConfigError, match=r"fusion=.concat. cannot work.*Use representation/fusion=none"):
        Representation(GlobalOnly(), CONCAT)


def random_block(seed, counts, dim):
    rng = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize
    offsets = torch.tensor([0, *itertools.accumulate(counts)])
    return ArrayBlock(
        torch.arange(len(counts)),
        unit(torch.randn(len(counts), dim, generator=rng, dtype=torch.float64)),
        unit(torch.randn(int(offsets[-1]), dim, generator=rng, dtype=torch.float64)),
        offsets,
    ), rng


STRATEGIES = [OneRand(), OneProto(renorm=False), OneProto(renorm=True), All()]


@settings(deadline=None)
@given(
    st.integers(0, 100),
    st.one_of(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.just([3, 3])),
    st.sampled_from(STRATEGIES),
    st.sampled_from([NoFusion(), CONCAT, POOL]),
)
def test_hyperplanes_applied_apart_score_like_fused_vectors(seed, counts, local, fusion):
    """The streamed product is a shortcut: it must give what scoring every fused vector and taking the best gives."""
    block, rng = random_block(seed, counts, 3)
    width = 6 if fusion is CONCAT else 3
    scorer = LinearScorer(torch.randn(2, width, generator=rng).double(), torch.randn(2, generator=rng).double())
    representation = Representation(local, fusion)
    prototype = [PROTOTYPE] if local.scores_prototype else []
    for image, count in enumerate(counts):
        region = torch.tensor([*range(count), *prototype])
        vectors = representation.vectors(block, torch.full_like(region, image), region)
        expected = scorer.scores(vectors).amax(dim=1)
        torch.testing.assert_close(scorer.of_block(block, representation)[:, image], expected)


@pytest.mark.parametrize("fusion", [Concat(False, True), Pool(False, True)], ids=["concat", "pool"])
def test_restoring_the_norm_makes_every_classified_vector_a_unit(fusion):
    block, _ = random_block(0, [2, 1], 4)
    vectors = Representation(All(), fusion).vectors(block, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_an_image_without_regions_ranks_last():
    block = ArrayBlock(torch.tensor([0, 1]), torch.ones(2, 1), torch.tensor([[-9.0]]), torch.tensor([0, 1, 1]))
    scorer = LinearScorer(torch.tensor([[1.0]]), torch.tensor([0.0]))
    assert scorer.of_block(block, Representation(All(), NoFusion())).tolist() == [[-9.0, -torch.inf]]
