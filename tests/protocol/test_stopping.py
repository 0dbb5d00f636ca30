from dataclasses import replace

import pandas as pd
import pytest

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Example, Query
from seekloop.loop.stopping import Recall, WithoutFind
from seekloop.protocol.scoreboard import Scoreboard
from seekloop.protocol.stopping import Stops, check_rule
from seekloop.protocol.summary import per_search, summarise, where_stopped
from tests.loop.parts import loop, perfect_user
from tests.worlds import blobs


def searches(rule):
    """Two searches among 40 images, half of them relevant, and a user: a board, what a rule stops, and their rounds."""
    world = blobs(images=40, dim=8, noise=0.4)
    queries = tuple(
        Query("star", number, (Example(image, world.annotations.largest_box(image, 0)),), (1, 3))
        for number, image in enumerate((0, 2))
    )
    search_loop = loop(world.descriptors)
    board = Scoreboard(
        world.annotations,
        queries,
        search_loop.global_descriptors,
        [str(image) for image in range(40)],
        clusters=4,
        clusterings=2,
        seed=0,
    )
    user = perfect_user(world.annotations)
    stops = Stops(rule, search_loop, board.relevant)

    def play(state=None, rounds=8):
        state = search_loop.start(queries, [0.0, 0.0]) if state is None else state
        for done, after in stops.until(search_loop.rounds(state, user, rounds=rounds, budget=3)):
            yield done, after, board.rounds(done, after).assign(**stops.columns()), board.asked(done)

    return queries, stops, play


def both(played):
    """Tables of rounds and of questions."""
    rows = list(played)
    return pd.concat([one[2] for one in rows]), pd.concat([one[3] for one in rows])


class After:
    """Stops a search once it has this many labels, by its number of finds and misses."""

    def __init__(self, answers):
        self.answers, self.seen = answers, []

    def __call__(self, progress):
        told = sum(len(turn.answer) for turn in progress.turns)
        self.seen.append((told, progress.found, progress.left))
        return replace(WithoutFind(1)(progress), stop=told >= self.answers and progress.found % 2 == 0)

    def works_with(self, criterion):
        return True


def test_a_rule_changes_nothing_but_the_end():
    """The same questions, answers and measures up to the round in which the last search stops, and none after it."""
    _, _, everything = searches(None)
    rounds, asked = both(everything())
    _, stops, play = searches(After(6))
    stopped_rounds, stopped_asked = both(play())
    last = stopped_rounds["round"].max()
    assert 2 <= last < 8
    assert stops.over
    plain = stopped_rounds.drop(columns=["recall", "stopped"])
    pd.testing.assert_frame_equal(plain, rounds[rounds["round"] <= last])
    pd.testing.assert_frame_equal(stopped_asked, asked[asked["round"] <= last], check_dtype=False)
    assert "stopped" not in rounds


def test_a_stopped_search_stays_stopped_and_is_not_judged_again():
    rule = After(6)
    _, _, play = searches(rule)
    rounds, _ = both(play())
    per_round = rounds.pivot_table(index="round", columns="query", values="stopped")
    assert (per_round.diff().dropna() >= 0).all(axis=None)
    stopped_before = per_round.shift(fill_value=0.0).sum(axis=None)
    assert len(rule.seen) == per_round.size - stopped_before


def test_a_rule_sees_the_answers_in_turns_and_what_is_left():
    """40 images, 3 known at the start; 3 answers a round."""
    rule = After(1000)
    _, _, play = searches(rule)
    both(play(rounds=2))
    assert [seen[0] for seen in rule.seen] == [0, 0, 3, 3, 6, 6]
    assert [seen[2] for seen in rule.seen] == [37, 37, 34, 34, 31, 31]


def test_recall_is_the_share_of_the_annotated_images_that_are_found():
    _, _, play = searches(After(1000))
    rounds, _ = both(play(rounds=3))
    assert rounds["recall"].tolist() == pytest.approx((rounds["positives"] / 20).tolist())


def test_an_interrupted_run_goes_on_as_if_it_had_not_been():
    """After two rounds the tables are all that is left of what the rule has seen."""
    rule = After(9)
    queries, _, play = searches(rule)
    undisturbed, _ = both(play())
    _, _, play = searches(After(9))
    begun = []
    for one in play():
        begun.append(one)
        if one[0].number == 2:
            break
    kept = pd.concat([one[2] for one in begun]), pd.concat([one[3] for one in begun])
    again = After(9)
    _, stops, play = searches(again)
    stops.resume(queries, *kept)
    rest, _ = both(play(begun[-1][1]))
    pd.testing.assert_frame_equal(pd.concat([kept[0], rest]), undisturbed)
    assert again.seen == rule.seen[-len(again.seen) :]


def test_when_all_have_stopped_nothing_more_is_asked():
    queries, _, play = searches(After(3))
    begun = list(play())
    _, stops, play = searches(After(3))
    stops.resume(queries, pd.concat([one[2] for one in begun]), pd.concat([one[3] for one in begun]))
    assert list(play(begun[-1][1])) == []


def test_where_searches_stopped_by_hand():
    """One stops in round 1 after 5 labels at recall 0.4, one never does; means are over those that stopped."""
    names = ["class_name", "query", "round", "labels", "recall", "stopped"]
    rows = [("a", 0, t, 3 + 2 * t, 0.4 * t, float(t >= 1)) for t in range(3)]
    rows += [("a", 1, t, 3 + 2 * t, 0.1, 0.0) for t in range(3)]
    rest = dict.fromkeys(["ap", "coverage", "seconds", "positives", "ap_small", "ap_medium", "ap_large"], 0.0)
    rounds = pd.DataFrame(rows, columns=names).assign(**rest)
    one, never = per_search(rounds)[["stop_round", "stop_labels", "stop_recall"]].to_numpy().tolist()
    assert one == [1, 5, 0.4]
    assert all(number != number for number in never)
    summary = summarise(rounds)
    assert [summary[key] for key in ("stop_round", "stop_labels", "stop_recall", "share_stopped")] == [1, 5, 0.4, 0.5]
    assert where_stopped(summary) == "the rule stopped 1 of 2 searches, on average after 5 labels at recall 0.40"
    assert where_stopped(summarise(rounds.assign(stopped=0.0))) == "the rule stopped 0 of 2 searches"
    assert where_stopped(summarise(rounds.drop(columns="stopped"))) is None


def test_a_rule_that_could_never_stop_is_refused():
    check_rule(Recall("sample"), "random")
    with pytest.raises(ConfigError, match="it never says stop where criterion=top asks all questions"):
        check_rule(Recall("sample"), "top")
