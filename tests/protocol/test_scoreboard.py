import pandas as pd
import pytest
import torch

from seekloop.contracts.records import Answer, Example, Feedback, Query
from seekloop.loop.questions import Question
from seekloop.loop.state import LabelledRows, Round, State
from seekloop.protocol.scoreboard import Scoreboard
from tests.worlds import annotated


def test_a_round_by_hand():
    """Five images, a to e; a, b, d show the class: a small, b large, d small. Scores rank a, c, b, e, d.

    AP = (1/1 + 2/3 + 3/5) / 3. Small only (b out of the ranking): a, c, e, d: (1/1 + 2/4) / 2. Large only (a, d out):
    c, b, e: 1/2. Found: a and b of three distinct positives, each its own cluster: coverage 2/3; d was answered, but
    overlooked. Of this round's two questions one was relevant: precision 1/2.
    """
    truth = annotated(
        ("cat",),
        torch.tensor([0, 1, 3]),
        torch.tensor([0, 0, 0]),
        torch.tensor([[0, 0, 0.1, 0.1], [0, 0, 1, 1], [0, 0, 0.2, 0.2]]),
    )
    query = Query("cat", 0, (Example(0, torch.tensor([0, 0, 0.1, 0.1])),), (2,))
    whole = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, 0], [0, -1]]), dim=1)
    board = Scoreboard(truth, [query], whole, list("abcde"), clusters=32, clusterings=3, seed=0)
    answers = torch.tensor([[1, 1, -1, -1, -1]], dtype=torch.int8)
    state = State((query,), answers, answers == 0, (LabelledRows.none(),), torch.tensor([9.0]).double(), None, 1)
    feedback = (
        Feedback(1, Answer.RELEVANT, torch.tensor([0.0, 0, 1, 1]), 4.6),
        Feedback(4, Answer.IRRELEVANT, None, 1.8),
    )
    done = Round(
        1,
        Question(*(torch.tensor([pair]) for pair in ([1, 4], [3, 0], [0.5, -0.5], [True, False]))),
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
    assert (row["labels"], row["positives"], row["seconds"], row["round"]) == (5, 2, 9.0, 1)
    asked = board.asked(done)
    assert asked["path"].tolist() == ["b", "e"]
    assert asked["region"].tolist() == [3, 0]
    assert asked["relevant"].tolist() == [True, False]
    assert asked["x1"].tolist()[0] == 1.0
    assert pd.isna(asked["x1"].tolist()[1])
