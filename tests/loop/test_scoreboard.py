import pandas as pd
import pytest
import torch

from seekloop.contracts.records import Answer, Feedback, Query, Round
from seekloop.loop.scoreboard import Scoreboard, summarise
from seekloop.loop.state import LabelledRows, State
from tests.worlds import annotated


def test_a_round_by_hand():
    """Five images, a to e; a, b, d show the class: a small, b large, d small. Scores rank a, c, b, e, d.

    AP = (1/1 + 2/3 + 3/5) / 3. Small only (b out of the ranking): a, c, e, d: (1/1 + 2/4) / 2. Large only (a, d out):
    c, b, e: 1/2. Found: a and b of three distinct positives, each its own cluster: coverage 2/3. Of this round's two
    questions one was relevant: precision 1/2.
    """
    truth = annotated(
        ("cat",),
        torch.tensor([0, 1, 3]),
        torch.tensor([0, 0, 0]),
        torch.tensor([[0, 0, 0.1, 0.1], [0, 0, 1, 1], [0, 0, 0.2, 0.2]]),
    )
    query = Query("cat", 0, 0, torch.tensor([0, 0, 0.1, 0.1]), (2,))
    whole = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, 0], [0, -1]]), dim=1)
    board = Scoreboard(truth, [query], whole, list("abcde"), clusters=32, clusterings=3, seed=0)
    answers = torch.tensor([[1, 1, -1, 0, -1]], dtype=torch.int8)
    state = State((query,), answers, answers == 0, [LabelledRows.none()], torch.tensor([9.0]).double(), None, 1)
    feedback = (
        Feedback(1, Answer.RELEVANT, torch.tensor([0.0, 0, 1, 1]), 4.6),
        Feedback(4, Answer.IRRELEVANT, None, 1.8),
    )
    done = Round(
        1,
        torch.tensor([[1, 4]]),
        torch.tensor([[3, 0]]),
        torch.tensor([[0.5, -0.5]]),
        (feedback,),
        torch.tensor([[5.0, 3, 4, 1, 2]]),
        answers,
    )
    (row,) = board.rounds(done, state).to_dict("records")
    assert row["ap"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert row["ap_small"] == pytest.approx((1 + 2 / 4) / 2)
    assert row["ap_large"] == pytest.approx(1 / 2)
    assert pd.isna(row["ap_medium"])
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["precision"] == 0.5
    assert (row["labels"], row["positives"], row["seconds"], row["round"]) == (4, 2, 9.0, 1)
    asked = board.asked(done)
    assert asked["path"].tolist() == ["b", "e"]
    assert asked["region"].tolist() == [3, 0]
    assert asked["relevant"].tolist() == [True, False]
    assert asked["x1"].tolist()[0] == 1.0
    assert pd.isna(asked["x1"].tolist()[1])


def curve(name, query, ap, positives):
    return pd.DataFrame(
        {
            "class_name": name,
            "query": query,
            "round": range(len(ap)),
            "ap": ap,
            "coverage": [0.5] * len(ap),
            "positives": positives,
            "seconds": [10.0 * t for t in range(len(ap))],
        }
    )


def test_a_run_in_numbers_by_hand():
    """Classes count equally however many queries they have.

    Cat: areas (0 + 1 + 1) -> 0.75 and 0 -> mean 0.375. Dog: 1. MAP-AUC (0.375 + 1) / 2 = 0.6875; over queries it would
    be 0.583. The 10th positive: the first cat query at 20 s, the dog query at 10 s, the second cat query never.
    """
    rounds = pd.concat(
        [
            curve("cat", 0, [0.0, 1.0, 1.0], [1, 9, 12]),
            curve("cat", 1, [0.0, 0.0, 0.0], [1, 1, 1]),
            curve("dog", 0, [1.0, 1.0, 1.0], [1, 10, 20]),
        ]
    ).sample(frac=1, random_state=0)
    summary = summarise(rounds)
    assert summary["map_auc"] == pytest.approx(0.6875)
    assert summary["coverage_auc"] == pytest.approx(0.5)
    assert summary["map_final"] == pytest.approx((0.5 + 1) / 2)
    assert summary["seconds_to_10"] == pytest.approx(15.0)
    assert summary["share_to_10"] == pytest.approx(2 / 3)
    assert (summary["classes"], summary["queries"], summary["rounds"]) == (2, 3, 2)


def test_nobody_reaching_the_goal_is_none_not_nan():
    assert summarise(curve("cat", 0, [0.0, 1.0], [1, 2]))["seconds_to_10"] is None
