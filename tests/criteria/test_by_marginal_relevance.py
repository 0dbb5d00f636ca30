import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.criteria.marginal_relevance import PfMmr, marginal_relevance
from seekloop.criteria.scores import PfMa, Top, Uncertainty
from tests.criteria.views import crowd, on_circle, rngs, view

ORDERS = {"pf_ma": PfMa(), "top": Top(), "uncertainty": Uncertainty()}


def test_pf_mmr_by_hand():
    """Likely candidates at 20, 80, 110, 50, 60 degrees in the order of PF-MA, so that relevance is 1, 3/4, 1/2, 1/4, 0.

    A relevant image at 130 degrees, an irrelevant one at 0. Largest cosines: .940, .643, .940, .643, .5 (of 20 with 0,
    80 with 130, 110 with 130, 50 with 0, 60 with 0). Redundancy on [0, 1]: 1, .325, 1, .325, 0, so 0, .425, -.5,
    -.075, 0: 80 first. It is near to 60 (.940), 110 and 50 (.866): of what is left 50 is least redundant with .866, the
    others have .940, so 0, -.5, .25, -1: 50 second. Now 20 (.940 from 0), 110 (.940) and 60 (.985) are left, and 20 has
    the highest relevance. The sixth candidate, at 180 degrees, is off the shortlist of 5.

    Unlike the relevant alone: 20, 80, 50. Unlike the irrelevant alone: 110, 50, 80. Without looking at the batch: 80,
    20, 60. Scaled once: 80, 20, 110. Half the weight: 80, 20, 50. With the sixth: 80, 20, 180. Relevance 1 over the
    place: 60, 20, 80. The order: 20, 80, 110.
    """
    whole = on_circle([20, 80, 110, 50, 60, 180, 130, 0])
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 0.0]])
    shown = view(scores, answers=[[0, 0, 0, 0, 0, 0, 1, -1]], whole=whole)

    def asked(**changes):
        return PfMmr(**{"shortlist": 1, "share": 5 / 6} | changes)(shown, 3, rngs(1)).tolist()

    assert asked(shortlist=2) == [[1, 3, 0]]
    assert asked(shortlist=2, known="relevant") == [[0, 1, 3]]
    assert asked(shortlist=2, diversity=0.5) == [[1, 0, 3]]
    assert asked(shortlist=2, share=1.0) == [[1, 0, 5]]
    assert asked(shortlist=2, diversity=0.0) == [[0, 1, 2]]
    assert asked() == asked(shortlist=2, share=0.1) == [[1, 0, 2]]  # no more than the batch: the order's images
    shown = dataclasses.replace(shown, answers=-shown.answers)
    assert asked(shortlist=2, known="relevant") == [[2, 3, 1]]


def test_scores_move_nothing_but_the_order():
    """Scores a thousand times as large, or squeezed near 0, are the same places on the shortlist."""
    shown = crowd(2, 60, seed=4)
    asked = PfMmr(share=1.0)(shown, 5, rngs(2))
    for other in (shown.scores * 1000, shown.scores.sign() * shown.scores.abs().pow(0.1)):
        assert torch.equal(PfMmr(share=1.0)(dataclasses.replace(shown, scores=other), 5, rngs(2)), asked)


def test_the_spread_of_similarities_does_not_matter():
    """A shared direction brings all cosines near to 1: 1 - c becomes (1 - c) / 26, which the scaling undoes."""
    rows = crowd(1, 40, seed=5).descriptors[2:]
    close = torch.nn.functional.normalize(torch.cat([rows, torch.full((38, 1), 5.0)], dim=1).double(), dim=1)
    apart = marginal_relevance(rows[:20], rows[20:], 6, 1.0)
    assert torch.equal(marginal_relevance(close[:20], close[20:], 6, 1.0), apart)


@given(st.integers(0, 2**16), st.integers(1, 8), st.sampled_from(sorted(ORDERS)))
def test_a_shortlist_no_longer_than_the_batch_is_the_order(seed, budget, order):
    """The law: the same images, and without weight on being unlike in the same sequence."""
    shown = crowd(2, 40, seed)
    expected = ORDERS[order](shown, budget, rngs(2))
    short = PfMmr(shortlist=1, share=1.0, order=order)(shown, budget, rngs(2))
    assert torch.equal(short.sort(dim=1).values, expected.sort(dim=1).values)
    assert torch.equal(PfMmr(diversity=0.0, share=1.0, order=order)(shown, budget, rngs(2)), expected)


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_the_more_weight_the_less_alike(seed, budget):
    """With a weight beyond every place, each pick is the farthest of the shortlist from all that is known or taken."""
    shown = crowd(1, 40, seed)
    criterion = PfMmr(diversity=1e6, share=1.0)
    kept = PfMa()(shown, min(6 * budget, int(shown.candidate.sum())), rngs(1))[0]
    known = shown.answers[0].nonzero()[:, 0].tolist()
    for image in criterion(shown, budget, rngs(1))[0].tolist():
        left = [one for one in kept.tolist() if one not in known]
        nearest = (shown.descriptors[left] @ shown.descriptors[known].T).amax(dim=1)
        assert nearest[left.index(image)] <= nearest.min() + 1e-6
        known.append(image)


def test_the_vectors_compared_are_a_choice():
    shown = view(torch.tensor([[0.1, 0.2, 0.3, 0.0]]), answers=[[0, 0, 0, 1]], whole=on_circle([0, 90, 0, 0]))
    seen = {"global": on_circle([10, 90, 0, 0]), "classified": 3 * on_circle([0, 10, 90, 0])}
    shown = dataclasses.replace(shown, read_vectors=lambda query, images, kind: seen[kind][images])
    picks = {kind: PfMmr(share=1.0, diversity=3.0, vectors=kind)(shown, 1, rngs(1)).item() for kind in seen}
    assert picks == {"global": 1, "classified": 2}


def test_nothing_answered_is_the_front_of_the_order_first():
    shown = view(torch.tensor([[0.3, 0.1, 0.2]]), whole=on_circle([0, 0, 90]))
    assert PfMmr(share=1.0)(shown, 2, rngs(1)).tolist() == [[1, 2]]


@pytest.mark.parametrize(("candidates", "floor"), [(19, -torch.inf), (20, 0.0)])
def test_the_floor_is_known_once_more_candidates_make_no_longer_list(candidates, floor):
    """A batch of 2, 5 kept for each, half of the candidates at most: 20 candidates make sure of a list of 10.

    All are likely, so that PF-MA's floor is the boundary.
    """
    scores = torch.linspace(1.95, 0.05, 20)[None, :candidates]
    assert PfMmr(shortlist=5, share=0.5).floor(view(scores), 2).tolist() == [floor]


def test_the_floor_is_that_of_the_whole_list():
    """Scores -.1, -.2, ...: of a list of 10 the lowest is -1, of the batch of 2 it would be -.2."""
    shown = view(-torch.arange(1, 31)[None] / 10)
    assert PfMmr(shortlist=5, share=0.5).floor(shown, 2).tolist() == pytest.approx([-1.0])
