import pandas as pd
import pytest

from seekloop.protocol.summary import per_class, summarise


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
            "ap_small": float("nan") if query else ap,
            "ap_medium": float("nan"),
            "ap_large": 0.25,
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


def test_classes_by_hand():
    """Cat: two searches, of which one found ten positives, at 20 s, and one has small objects, ending at AP 1."""
    rounds = pd.concat([curve("cat", 0, [0.0, 1.0, 1.0], [1, 9, 12]), curve("cat", 1, [0.0, 0.0, 0.0], [1, 1, 1])])
    (cat,) = per_class(rounds).to_dict("records")
    assert (cat["class_name"], cat["queries"], cat["positives"]) == ("cat", 2, 6.5)
    assert cat["map_auc"] == pytest.approx(0.375)
    assert (cat["seconds_to_10"], cat["share_to_10"]) == (20.0, 0.5)
    assert (cat["ap_small"], cat["ap_large"]) == (1.0, 0.25)
    assert pd.isna(cat["ap_medium"])


def test_a_single_round_has_no_area_but_a_value():
    assert summarise(curve("cat", 0, [0.5], [1]))["map_auc"] == 0.5


def test_nobody_reaching_the_goal_is_none_not_nan():
    assert summarise(curve("cat", 0, [0.0, 1.0], [1, 2]))["seconds_to_10"] is None
