import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Answer, Example, Feedback, Query
from seekloop.criteria.marginal_relevance import PfMmr
from seekloop.criteria.scores import Random
from seekloop.loop import stopping
from seekloop.loop.questions import Question
from seekloop.loop.state import Round
from seekloop.loop.stopping import (
    AllOf,
    AnyOf,
    Progress,
    Recall,
    Turn,
    Verdict,
    WithoutFind,
    by_chao,
    by_chao_rivest,
    by_isotonic,
    by_platt,
    by_sample,
    captures,
    criterion_name,
    hint,
    progress_of,
    shown,
    turn_of,
)
from seekloop.metrics.remaining import Estimate, calibrated, chao_rivest, sampled
from seekloop.store.arrays import array_descriptors
from tests.loop.parts import loop


def turn(criterion, *answers, first=0, scores=None):
    image = torch.arange(first, first + len(answers))
    score = torch.zeros(len(answers)) if scores is None else torch.tensor(scores)
    return Turn(criterion, image, torch.tensor(answers), score)


def search(*turns, images=100, examples=1, read_captures=None):
    """A search whose turns ask about consecutive images, and whose examples are the last images."""
    answers, candidate = torch.zeros(images, dtype=torch.int8), torch.ones(images, dtype=torch.bool)
    for one in turns:
        answers[one.image], candidate[one.image] = one.answer.to(torch.int8), False
    answers[images - examples :], candidate[images - examples :] = 1, False
    return Progress(turns, torch.zeros(images), answers, candidate, read_captures)


def test_what_remains_after_a_check_by_hand():
    """99 images could be asked about; 4 by the search leave 95, of which 10 are drawn, 1 relevant.

    Of 95 images 9.5 are relevant, the one that was drawn among them: 8.5 remain. Over all 99 it would be 9.9.
    """
    asked = turn("pf_mmr", 1, 1, -1, 1)
    check = turn("random", 1, *[-1] * 9, first=4)
    estimate, whole = by_sample(search(asked, check)), sampled(1, 10, 95)
    assert estimate.value == pytest.approx(8.5)
    assert (estimate.low, estimate.high) == pytest.approx((max(0, whole.low - 1), whole.high - 1))


def test_a_search_may_go_on_after_a_check():
    """The same check, then 3 finds among 4 answers: 9.5 - 1 - 3 = 5.5 remain of the 95."""
    turns = [turn("pf_mmr", 1, 1, -1, 1), turn("random", 1, *[-1] * 9, first=4), turn("pf_mmr", 1, 1, 1, -1, first=14)]
    assert by_sample(search(*turns)).value == pytest.approx(5.5)


def test_turns_of_random_questions_in_a_row_are_one_check_and_the_last_check_counts():
    """5 + 5 drawn, 1 relevant, as if drawn at once; an earlier check, of relevant images only, is forgotten."""
    two = [turn("random", 1, *[-1] * 4, first=4), turn("random", *[-1] * 5, first=9)]
    assert by_sample(search(turn("pf_mmr", 1, 1, -1, 1), *two)).value == pytest.approx(8.5)
    before = [turn("random", 1, 1), turn("pf_mmr", -1, 1, first=2)]
    assert by_sample(search(*before, *two)).value == pytest.approx(8.5)


def test_unsure_answers_are_no_part_of_a_sample():
    """Of 99 images 2 of 5 are unsure: 1 of 3 known among 97."""
    estimate = by_sample(search(turn("random", 1, 0, -1, 0, -1)))
    assert estimate.value == pytest.approx(97 / 3 - 1)
    assert by_sample(search(turn("random", 0, 0))) is None


def test_no_more_remain_than_can_be_asked_about():
    """2 images are left of 12 after a check of 9 that were all relevant: 11 of 11, minus 9."""
    estimate = by_sample(search(turn("random", *[1] * 9), images=12))
    assert (estimate.value, estimate.high) == (2.0, 2.0)


def test_without_a_check_a_sample_says_nothing():
    assert by_sample(search(turn("pf_mmr", *[1] * 20))) is None
    assert by_sample(search()) is None


def test_probabilities_come_from_scores_before_their_answers_were_learnt():
    """The present scores of answered images, here all 0, say nothing; unsure answers are left out."""
    first = turn("pf_mmr", -1, 1, -1, 1, 0, scores=[-2.0, -1.0, 0.0, 1.0, 9.0])
    more = turn("pf_mmr", 1, 1, 1, first=5, scores=[2.0, 3.0, 1.5]), turn("top", -1, first=8, scores=[-3.0])
    told = torch.tensor([-1, 1, -1, 1, 1, 1, 1, -1]) == 1
    given = torch.tensor([-2.0, -1, 0, 1, 2, 3, 1.5, -3]), told, torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])
    picked = turn("by hand", 1, 1, 1, first=9, scores=[-9.0, -9.0, -9.0])
    progress = search(first, *more, picked)
    rest = progress.scores[progress.candidate]
    assert len(rest) == 87
    assert by_platt(progress) == calibrated(*given, rest)
    assert by_isotonic(progress) == calibrated(*given, rest, calibration="isotonic") != by_platt(progress)


def test_probabilities_need_five_finds_answers_of_both_kinds_and_three_turns():
    once, none = turn("pf_mmr", -1, first=20), turn("pf_mmr", 1, first=30)
    assert by_platt(search()) is None
    assert by_platt(search(turn("pf_mmr", 1, 1, 1, -1), once, none)) is None
    assert by_platt(search(turn("pf_mmr", 1, 1, 1, 1), none, turn("pf_mmr", 1, first=40))) is None
    assert by_platt(search(turn("pf_mmr", 1, 1, 1, 1, 1, -1), once)) is None
    assert by_platt(search(turn("pf_mmr", 1, 1, 1, 1), once, none)) is not None


def test_captures_are_asked_for_where_a_bound_is_wanted():
    """f_1 = 4, f_2 = 1, one that nobody would have proposed: Chao says 3 - 1. Four finds are too few."""
    rows = [[False] * 3, *[[True, False, False]] * 4, [True, True, False]]
    progress = search(turn("pf_mmr", *[1] * 6), read_captures=lambda: torch.tensor(rows))
    assert by_chao(progress).value == pytest.approx(2)
    assert by_chao_rivest(progress).value == chao_rivest(torch.tensor(rows)).value
    assert by_chao(search(read_captures=lambda: torch.tensor(rows[:4]))) is None
    assert by_chao(search()) is None


def answered(answers, images):
    """A loop over these vectors, and the state of a search that begins at image 0 and has got these answers."""
    search_loop = loop(array_descriptors(torch.tensor(images)))
    state = search_loop.start((Query("cat", 0, (Example(0),), (1,)),), [0.0])
    code = {1: Answer.RELEVANT, -1: Answer.IRRELEVANT, 0: Answer.UNSURE}
    given = [Feedback(image, code[answer], None, 1.0) for image, answer in answers.items()]
    return search_loop, search_loop.update(state, [given])


def test_no_member_of_the_committee_judges_an_image_that_it_was_taught():
    """Image 2 lies by itself, e_3; images without an answer lie a little towards the example, e_1.

    Who was taught that it is relevant ranks it first: w = (e_1 + e_3) / 2 + e_1, so 0.5 against 0.3 of the others. Who
    was not has w = 2 e_1 and ranks it behind them: 0 against 0.4. Only the latter counts.
    """
    images = [[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], *[[-1.0, 0, 0, 0]] * 5, *[[0.2, 0.0, 0.0, 0.98]] * 12]
    search_loop, state = answered({2: 1, 3: -1, 4: -1, 5: -1, 6: -1, 7: -1}, images)
    assert captures(search_loop, state, 0).tolist() == [[False] * stopping.MEMBERS]


def test_what_looks_like_the_example_is_proposed_by_every_member():
    images = [[1.0, 0, 0, 0], [-1, 0, 0, 0], [1, 0, 0, 0.1], *[[-1.0, 0, 0, 0]] * 5, *[[0.2, 0.0, 0.0, 0.98]] * 12]
    search_loop, state = answered({2: 1, 3: -1, 4: -1, 5: -1, 6: -1, 7: -1}, images)
    assert captures(search_loop, state, 0).tolist() == [[True] * stopping.MEMBERS]
    assert progress_of(search_loop, state, 0, ()).captures.tolist() == [[True] * stopping.MEMBERS]


def test_the_committee_leaves_the_search_as_it_is():
    images = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    search_loop, state = answered({2: 1, 3: -1, 4: 1, 5: -1, 6: 1, 7: 0}, images.tolist())
    before = state.scores.clone(), state.answers.clone(), search_loop.propose(state, budget=5).image
    first, again = captures(search_loop, state, 0), captures(search_loop, state, 0)
    assert first.shape == (3, stopping.MEMBERS)  # the unsure one is none of the finds, the example neither
    assert torch.equal(first, again)
    after = search_loop.update(state).scores, state.answers, search_loop.propose(state, budget=5).image
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def says(monkeypatch, high):
    """Let the sample say how many remain at most; returns the confidences that it was asked for."""
    asked = []

    def estimate(_, confidence):
        asked.append(confidence)
        return None if high is None else Estimate(0, 1, high, "a guess")

    monkeypatch.setitem(stopping.ESTIMATORS, "sample", estimate)
    return asked


@pytest.mark.parametrize(("high", "stop"), [(2, True), (2.01, False)])
def test_recall_is_reached_when_the_upper_end_says_so(monkeypatch, high, stop):
    """8 found, 2 remain at most: 8 / 10 is the goal. The upper end of 0.8, two-sided, is that of 0.9, one-sided."""
    asked = says(monkeypatch, high)
    progress = search(turn("pf_mmr", *[1] * 7))
    verdict = Recall("sample", goal=0.8, confidence=0.9)(progress)
    assert (progress.found, verdict.stop) == (8, stop)
    assert asked == [pytest.approx(0.8)]
    assert verdict.why.startswith("at least 80% of the relevant images are found (90% sure by a guess)")


def test_without_an_estimate_recall_goes_on(monkeypatch):
    says(monkeypatch, None)
    assert Recall("sample")(search()) == Verdict(False, "too little is known for an estimate of what remains")


def test_answers_in_a_row_are_counted_over_turns_from_the_last_find():
    """+ - - | - unsure -: five since the find. Neither the check between them nor what was picked by hand counts."""
    between = turn("random", 1, 1, first=3), turn("by hand", 1, -1, first=8)
    progress = search(turn("top", 1, -1, -1), *between, turn("top", -1, 0, -1, first=5))
    assert WithoutFind(5)(progress) == Verdict(True, "5 answers in a row without a find")
    assert WithoutFind(6)(progress) == Verdict(False, "5 answers in a row without a find, of 6")
    assert not WithoutFind(3)(search(turn("top", -1, -1, -1, 1))).stop
    assert WithoutFind(3)(search(turn("top", -1, -1, -1))).stop
    assert not WithoutFind(1)(search()).stop


def rule(stop, why, criterion="any"):
    class Says:
        def __call__(self, progress):
            return Verdict(stop, why)

        def works_with(self, asked):
            return criterion in ("any", asked)

    return Says()


def test_any_of_two_rules_stops_with_the_reason_of_the_one_that_does():
    yes, no = rule(True, "yes"), rule(False, "no")
    assert AnyOf(no, yes)(search()) == Verdict(True, "yes")
    assert AnyOf(yes, no)(search()) == Verdict(True, "yes")
    assert AnyOf(no, rule(False, "nor"))(search()) == Verdict(False, "no; nor")


def test_all_of_two_rules_wait_for_each_other():
    yes, no = rule(True, "yes"), rule(False, "no")
    assert AllOf(no, yes)(search()) == Verdict(False, "no")
    assert AllOf(yes, no)(search()) == Verdict(False, "no")
    assert AllOf(yes, rule(True, "too"))(search()) == Verdict(True, "yes; too")


def test_rules_know_where_they_can_never_stop():
    sample, chao, row = Recall("sample"), Recall("chao"), WithoutFind()
    asked = {one: [part.works_with(one) for part in (sample, chao, row)] for one in ("random", "pf_mmr")}
    assert asked == {"random": [True, True, False], "pf_mmr": [False, True, True]}
    assert AnyOf(sample, row).works_with("pf_mmr")
    assert AnyOf(sample, row).works_with("random")
    assert not AllOf(sample, row).works_with("pf_mmr")


@pytest.mark.parametrize("wrong", [{"goal": 1.0}, {"confidence": 0.0}, {"estimator": "guess"}])
def test_what_no_rule_can_promise_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"Recall: {next(iter(wrong))}="):
        Recall(**wrong)


def test_criteria_are_called_as_their_files_are():
    assert (criterion_name(Random()), criterion_name(PfMmr())) == ("random", "pf_mmr")


def test_a_turn_is_in_the_order_asked_whatever_the_order_of_the_answers():
    question = Question(
        torch.tensor([[1, 2], [7, 5]]),
        torch.zeros(2, 2).long(),
        torch.tensor([[0.0, 0], [0.5, -2]]),
        torch.zeros(2, 2) > 0,
    )
    told = (Feedback(5, Answer.RELEVANT, None, 1.0), Feedback(7, Answer.UNSURE, None, 1.0))
    done = Round(1, question, ((), told), torch.zeros(2, 9), torch.zeros(2, 9).long())
    made = turn_of(done, 1, "top")
    assert (made.criterion, made.image.tolist(), made.answer.tolist()) == ("top", [7, 5], [0, 1])
    assert made.score.tolist() == [0.5, -2]


def test_progress_of_a_search_is_that_of_its_state():
    images = torch.nn.functional.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    search_loop, state = answered({2: 1, 3: -1, 7: 0}, images.tolist())
    progress = progress_of(search_loop, replace(state), 0, ())
    assert (progress.found, progress.left) == (2, 7)
    assert torch.equal(progress.scores, state.scores[0])


def test_a_page_shows_and_promises_what_a_check_tells():
    """30 of 100 images found, 60 drawn without one: of 70 images at most 1 - 0.05^(1/60) = 4.9 % remain, 3.4 images.

    31 with the example: 31 / 34.4 = 90 % is promised. Before the check nothing is.
    """
    finds = turn("pf_mmr", *[1] * 30)
    checked = search(finds, turn("random", *[-1] * 60, first=30), images=101)
    assert shown(checked) == by_sample(checked)
    assert hint(checked) == Verdict(
        True, "at least 90% of the relevant images are found (95% sure by a random sample of 60)"
    )
    begun = search(finds, turn("random", *[-1] * 10, first=30), turn("pf_mmr", *[-1] * 20, first=40), images=101)
    assert hint(begun).why.startswith(
        "at least 63% of the relevant images are found (95% sure by a random sample of 10)"
    )
    assert not hint(begun).stop
    assert shown(search(finds)) is None
    assert hint(search(finds)) == Verdict(False, "")


def test_a_row_without_a_find_is_a_hint_to_check_not_to_stop():
    row = "20 answers in a row without a find: a check of the rest would tell what remains"
    assert hint(search(turn("pf_mmr", 1, *[-1] * 20))) == Verdict(False, row)
    assert hint(search(turn("pf_mmr", 1, *[-1] * 19))) == Verdict(False, "")


def test_the_example_of_the_page_runs(capsys):
    """80 found, 300 left, no find among 120: (1 - p)^120 = 0.025 at the upper end of 420 images, 12.7 of them."""
    page = (Path(__file__).parents[2] / "docs" / "stopping.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(code, {})
    estimate, why = capsys.readouterr().out.splitlines()
    assert f"value=0.0, high={420 * (1 - 0.025 ** (1 / 120)):.6f}" in estimate
    assert why == "at least 89% of the relevant images are found (95% sure by a random sample of 120)"
