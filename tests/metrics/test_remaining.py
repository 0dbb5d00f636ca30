import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import hypergeom
from sklearn.linear_model import LogisticRegression

from seekloop.metrics.remaining import calibrated, chao, chao_rivest, sampled


def captured(*counts, members):
    """A row per image: counts[j] images that the first j members would have proposed."""
    rows = [[member < j for member in range(members)] for j, count in enumerate(counts) for _ in range(count)]
    return torch.tensor(rows)


def test_of_a_sample_without_finds_the_upper_end_is_a_closed_form():
    """0 of 60 among 900: the largest p with (1 - p)^60 = 0.025 is 1 - 0.025^(1/60) = 0.0596."""
    estimate = sampled(0, 60, 900)
    assert (estimate.low, estimate.value) == (0, 0)
    assert estimate.high == pytest.approx(900 * (1 - 0.025 ** (1 / 60)))
    assert estimate.high == pytest.approx(53.67, abs=0.01)


def test_of_a_sample_by_hand():
    """1 of 2: (1 - p)^2 = 0.975 at the lower end, 1 - sqrt(0.975) = 0.0126, and by symmetry 1 minus it at the upper.

    The one that was found is there, the one that is not is not: low is 1 at least, high 9 at most.
    """
    estimate = sampled(1, 2, 10)
    end = 1 - math.sqrt(0.975)
    assert (estimate.low, estimate.value) == (1.0, 5.0)
    assert estimate.high == 9.0
    assert sampled(1, 2, 1000).low == pytest.approx(1000 * end)
    assert sampled(1, 2, 1000).high == pytest.approx(1000 * (1 - end))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_samples_interval_holds_as_often_as_it_says_whatever_there_is(confidence):
    """All outcomes of drawing 15 of 80, by their chances, for each number of relevant images."""
    ends = [sampled(k, 15, 80, confidence) for k in range(16)]
    for relevant in range(81):
        chances = hypergeom(80, relevant, 15).pmf(range(16))
        held = sum(chance for chance, one in zip(chances, ends, strict=True) if one.low <= relevant <= one.high)
        assert held >= confidence - 1e-9


def test_scores_that_tell_nothing_give_every_image_the_share_of_relevant_answers():
    """4 of 10 answers are relevant. With Platt's targets (4 * 5/6 + 6 * 1/8) / 10 = 0.40833; of 20 images 8.17.

    Isotonic regression takes the answers as they are: 0.4 * 20 = 8.
    """
    told = torch.tensor([True] * 4 + [False] * 6)
    platt = calibrated(torch.zeros(10), told, torch.arange(10), torch.zeros(20))
    assert platt.value == pytest.approx(20 * (4 * 5 / 6 + 6 / 8) / 10, rel=1e-4)
    assert calibrated(
        torch.zeros(10), told, torch.arange(10), torch.zeros(20), calibration="isotonic"
    ).value == pytest.approx(8.0)
    assert platt.low < 5 < 12 < platt.high


def test_isotonic_probabilities_by_hand():
    """Answers -, +, -, + at 0, 1, 2, 3 pool to 0, 1/2, 1/2, 1. At -9, 1.5, 9: 0 + 1/2 + 1, outside as at the ends."""
    estimate = calibrated(
        torch.tensor([0.0, 1, 2, 3]),
        torch.tensor([False, True, False, True]),
        torch.arange(4),
        torch.tensor([-9.0, 1.5, 9.0]),
        calibration="isotonic",
    )
    assert estimate.value == pytest.approx(1.5)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 3


def logistic(count, seed):
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, generator=rng, dtype=torch.float64)
    return scores, torch.rand(count, generator=rng, dtype=torch.float64) < torch.sigmoid(2 * scores - 1)


def test_neither_unit_nor_zero_of_the_scores_matters():
    (scores, told), one, rest = logistic(60, 1), torch.arange(60), logistic(200, 2)[0]
    plain, moved = calibrated(scores, told, one, rest), calibrated(3 * scores - 5, told, one, 3 * rest - 5)
    assert [moved.low, moved.value, moved.high] == pytest.approx([plain.low, plain.value, plain.high], rel=1e-3)


def test_where_the_model_is_right_the_interval_of_probabilities_holds():
    """Forty worlds of a logistic model: at a coverage of 0.95, fewer than 34 would be a chance of one in a thousand."""
    held = 0
    for seed in range(40):
        (scores, told), (rest, remaining) = logistic(150, seed), logistic(400, 1000 + seed)
        estimate = calibrated(scores, told, torch.arange(150), rest, seed=seed)
        held += estimate.low <= int(remaining.sum()) <= estimate.high
    assert held >= 34


def test_answers_that_the_scores_part_give_finite_probabilities():
    """Without Platt's targets the slope would be infinite, and an image at 0 would count 0 or 1."""
    scores, told = torch.tensor([-1.0] * 5 + [1.0] * 5), torch.tensor([False] * 5 + [True] * 5)
    assert calibrated(scores, told, torch.arange(10), torch.zeros(100)).value == pytest.approx(50, abs=0.1)
    assert calibrated(scores, told, torch.arange(10), torch.ones(100)).value == pytest.approx(600 / 7, rel=1e-3)


def test_rounds_are_drawn_whole():
    """Ten answers in two rounds, the relevant ones in the first: a sample with both kinds has both rounds, once each.

    So nothing is uncertain but the chance, of 4000 images at 1/2. Ten rounds of one answer each leave more uncertain.
    """
    scores, told = torch.zeros(10), torch.tensor([True] * 5 + [False] * 5)
    whole = calibrated(scores, told, torch.arange(10) // 5, torch.zeros(4000))
    apart = calibrated(scores, told, torch.arange(10), torch.zeros(4000))
    assert whole.high - whole.low == pytest.approx(2 * 1.96 * math.sqrt(4000 / 4), rel=0.01)
    assert apart.high - apart.low > 5 * (whole.high - whole.low)


def test_platts_function_is_that_of_scikit_learn_with_soft_targets():
    """Soft targets as pairs of weighted answers; the regression is hardly regularised."""
    (scores, told), rest = logistic(80, 5), logistic(300, 6)[0]
    positives, negatives = int(told.sum()), int((~told).sum())
    target = torch.where(told, (positives + 1) / (positives + 2), 1 / (negatives + 2)).numpy()
    solver = LogisticRegression(C=1e8, tol=1e-10, max_iter=1000)
    doubled = np.repeat([1, 0], len(scores)), np.concatenate([target, 1 - target])
    solver.fit(np.tile(scores.numpy(), 2)[:, None], doubled[0], sample_weight=doubled[1])
    expected = solver.predict_proba(rest.numpy()[:, None])[:, 1].sum()
    assert calibrated(scores, told, torch.arange(80), rest).value == pytest.approx(expected, rel=1e-4)


def test_answers_of_one_kind_calibrate_nothing():
    with pytest.raises(ValueError, match="answers of both kinds"):
        calibrated(torch.zeros(3), torch.tensor([True] * 3), torch.arange(3), torch.zeros(3))


def test_chaos_bound_by_hand():
    """f_1 = 4, f_2 = 1: 4 * 3 / (2 * 2) = 3 that nobody proposed (uncorrected: 8), of which one is known: 2 remain.

    Variance 3 + 4 * 7^2 / 16 + 4^2 * 1 * 3^2 / 64 = 17.5; the interval is 3 divided and multiplied by
    exp(1.96 sqrt(log(1 + 17.5 / 9))), minus the known one.
    """
    estimate = chao(captured(1, 4, 1, 9, members=3))
    factor = math.exp(1.959964 * math.sqrt(math.log(1 + 17.5 / 9)))
    assert estimate.value == pytest.approx(2)
    assert estimate.low == pytest.approx(max(0, 3 / factor - 1))
    assert estimate.high == pytest.approx(3 * factor - 1)


def test_where_every_member_proposes_every_find_the_bound_is_nothing_but_not_certain():
    """f_3 = 10: a find is missed with chance P = e^-3: 10 P / (1 - P) = 0.524, and 1.96 sqrt(10 P) / (1 - P)."""
    estimate, chance = chao(captured(0, 0, 0, 10, members=3)), math.exp(-3)
    assert (estimate.low, estimate.value) == (0, 0)
    assert estimate.high == pytest.approx((10 * chance + 1.959964 * math.sqrt(10 * chance)) / (1 - chance))


def test_the_bound_of_chao_and_rivest_is_chaos_times_a_share_where_many_members_agree():
    """f_1 - 1/2 = 3.5, f_2 + 1 = 2, four members: 3.5^2 / (2 * 2) * 3 / 4 = 2.297; f_3 and f_4 tell nothing more."""
    few, many = (chao_rivest(captured(0, 4, 1, often, often, members=4)) for often in (2, 40))
    assert few.value == pytest.approx(3.5**2 / 4 * 3 / 4, rel=1e-4)
    assert many.value == pytest.approx(few.value, rel=1e-4)


def test_without_heterogeneity_it_is_the_truncated_binomial():
    """f = 3, 8, 0 of three members is less agreement than members alike would show, so that eta_3 is 0, not negative.

    What is left is a binomial without its zeros: of corrected counts 2.5, 9, 0 the mean is 3 p / (1 - (1 - p)^3).
    Chao's closed form, which does not see f_3 = 0, would say 2.5^2 / 18 * 2 / 3 = 0.23.
    """
    mean = (2.5 + 18) / 11.5
    p = brentq(lambda p: 3 * p / (1 - (1 - p) ** 3) - mean, 0.01, 0.99)
    expected = 11.5 * (1 - p) ** 3 / (1 - (1 - p) ** 3)
    assert chao_rivest(captured(0, 3, 8, 0, members=3)).value == pytest.approx(expected, rel=1e-3)
    assert expected > 0.5


def test_members_alike_are_believed():
    """800 images, each proposed by three members with chance 1/2: 100, 300, 300, 100. The first 100 are estimated."""
    estimate = chao_rivest(captured(0, 300, 300, 100, members=3))
    assert estimate.value == pytest.approx(100, abs=1.5)
    assert estimate.low < 100 < estimate.high
    assert chao(captured(0, 300, 300, 100, members=3)).value == pytest.approx(149, abs=1.5)  # of many members, few seen


def test_images_that_are_hard_for_all_members_are_not_seen():
    """Both bounds are lower ones: of 200 images half are never proposed, and the bounds know nothing of them."""
    rng = np.random.default_rng(0)
    easy = torch.from_numpy(rng.random((100, 4)) < 0.7)
    for bound in (chao, chao_rivest):
        assert bound(easy[easy.any(dim=1)]).high < 20
