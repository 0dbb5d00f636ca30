import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from seekloop.classifiers.random_forest import ForestScorer, RandomForest
from seekloop.contracts.scorers import pack_scorer, unpack_scorer
from tests.classifiers.rows import batch, problem, problems


def test_votes_by_hand():
    """Tree 1 asks whether the second number is at most 1/2: then 0, else 1. Tree 2 is a leaf with 1/4.

    (9, 0) and (9, 1/2) go left: p = 1/8, f = -3/4; (0, 1) goes right: p = 5/8, f = 1/4. A majority of trees gives -1
    and 0.
    """
    scorer = ForestScorer(
        torch.tensor([[[1, 0, 0], [0, 0, 0]]]),
        torch.tensor([[[0.5, -2, -2], [-2, 0, 0]]]).double(),
        torch.tensor([[[1, 1, 2], [0, 0, 0]]]),
        torch.tensor([[[2, 1, 2], [0, 0, 0]]]),
        torch.tensor([[[0.5, 0, 1], [0.25, 0, 0]]]).double(),
    )
    images = torch.tensor([[9.0, 0.0], [9.0, 0.5], [0.0, 1.0]])
    assert scorer.scores(images).tolist() == [[-0.75, -0.75, 0.25]]
    both = scorer.join([scorer]).select(torch.tensor([1]))
    assert both.scores(images).equal(scorer.scores(images))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_the_published_forest(seed):
    x, y = problem(40, 24, seed=seed)
    images = torch.randn(60, 24, generator=torch.Generator().manual_seed(seed))
    forest = RandomForestClassifier(class_weight="balanced", random_state=42).fit(x.numpy(), y.numpy())
    wanted = 2 * torch.from_numpy(forest.predict_proba(images.numpy()))[:, 1] - 1
    found = RandomForest().fit(batch([x], [y.tolist()]), None).scores(images)[0]
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)


def test_a_checkpoint_keeps_it():
    scorer, images = RandomForest(trees=5).fit(problems([8, 20], 6), None), torch.randn(10, 6)
    assert unpack_scorer(pack_scorer(scorer)).scores(images).equal(scorer.scores(images))


def test_its_boundary_is_one_half():
    """Of 100 trees the same number for either class: 0, which the criterion `sides` counts as below."""
    rows = batch([[[0.0, 1.0], [0.0, 1.0]]], [[1, -1]])
    assert RandomForest().fit(rows, None).scores(torch.zeros(1, 2)).abs().item() <= 0.3
    x, y = problem(60, 24, seed=4, positives=0.5, spread=0.02)
    scores = RandomForest().fit(batch([x], [y.tolist()]), None).scores(x)[0]
    assert (scores > 0).equal(y > 0)
