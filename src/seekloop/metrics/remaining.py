"""Estimates of how many relevant images a search has not found yet, each with an interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Calibration = Literal["platt", "isotonic"]
RESAMPLES = 50  # bootstrap samples of the rounds that a calibration is learnt from
NEWTON_STEPS = 30
RIDGE = np.array([1e-9, 0.0, 0.0, 1e-9])  # added to the curvature, which one score alone leaves singular


@dataclass(frozen=True)
class Estimate:
    """Number of relevant images that remain.

    Attributes:
        low: lower end of the interval.
        value: the likeliest number.
        high: upper end of the interval.
        method: source of the numbers in words.
    """

    low: float
    value: float
    high: float
    method: str

    def less(self, found: int) -> "Estimate":
        """The estimate after `found` of these images were found; nothing goes below 0.

        Example:
            >>> Estimate(1.0, 4.0, 9.0, "sample").less(3)
            Estimate(low=0.0, value=1.0, high=6.0, method='sample')
        """
        low, value, high = (max(0.0, number - found) for number in (self.low, self.value, self.high))
        return replace(self, low=low, value=value, high=high)

    def at_most(self, candidates: int) -> "Estimate":
        """The estimate where no more than these images are left.

        Example:
            >>> Estimate(1.0, 4.0, 9.0, "sample").at_most(5)
            Estimate(low=1.0, value=4.0, high=5.0, method='sample')
        """
        low, value, high = (min(float(candidates), number) for number in (self.low, self.value, self.high))
        return replace(self, low=low, value=value, high=high)


def sampled(relevant: int, sample: int, candidates: int, confidence: float = 0.95) -> Estimate:
    r"""Relevant images among candidates, from a random sample of them, with the interval of Clopper and Pearson.

    .. math:: n \, k / m, \qquad n \, \big[ B_{\alpha/2}(k, m - k + 1),\; B_{1 - \alpha/2}(k + 1, m - k) \big]

    The sample is drawn without replacement, so the interval is a little too wide where it is a large part of the
    candidates. Whatever the scores are, it holds at least as often as it says.

    Args:
        relevant: k, images of the sample that are relevant.
        sample: m, images of the sample, one at least.
        candidates: n, images that the sample was drawn from, itself included.
        confidence: of the interval.

    Source: Clopper & Pearson, Biometrika 26(4), 1934.
    """
    from scipy.special import betaincinv

    tail, irrelevant = (1 - confidence) / 2, sample - relevant
    lower = betaincinv(relevant, irrelevant + 1, tail) if relevant else 0.0
    upper = betaincinv(relevant + 1, irrelevant, 1 - tail) if irrelevant else 1.0
    low, high = max(float(relevant), candidates * float(lower)), candidates * float(upper)
    return Estimate(
        low, candidates * relevant / sample, min(high, float(candidates - irrelevant)), f"a random sample of {sample}"
    )


def calibrated(
    scores: Float[Tensor, " k"],
    relevant: Bool[Tensor, " k"],
    round_: Int[Tensor, " k"],
    rest: Float[Tensor, " n"],
    confidence: float = 0.95,
    *,
    calibration: Calibration = "platt",
    seed: int = 0,
) -> Estimate:
    r"""Sum of calibrated probabilities over images without an answer.

    .. math:: \hat R = \sum_{i} p(s_i), \qquad
              F(x) = \frac1B \sum_b \Phi\!\Big( \frac{x - \sum_i p_b(s_i)}{\sqrt{\sum_i p_b(s_i) (1 - p_b(s_i))}} \Big)

    A calibration maps scores to probabilities. It is learnt from scores that images had *before* their answers were
    learnt from. A criterion that chooses by score alone does not bias it where there are answers; at scores that were
    never asked about it extrapolates, and there nothing corrects it. The interval is that of the mixture `F` over B
    bootstrap samples: uncertain calibration, and by the normal approximation of the Poisson-binomial distribution the
    chance that remains. Drawn are whole rounds, because the scores of a round are of one classifier.

    Args:
        scores: of images with an answer, before it was learnt from.
        relevant: their answers; some are, some are not.
        round_: in which each was asked about.
        rest: scores of the images without an answer.
        confidence: of the interval.
        calibration: platt, a logistic function (with Platt's smoothed targets), or isotonic, any rising function.
        seed: of the bootstrap samples.

    Raises:
        ValueError: if all answers are of one kind.

    Source: Platt, Advances in Large Margin Classifiers, 1999; Zadrozny & Elkan, KDD 2002.
    """
    if relevant.all() or not relevant.any():
        raise ValueError("a calibration needs answers of both kinds")
    given, told, others = (one.double().numpy() for one in (scores, relevant, rest))
    weights = np.stack([np.ones(len(told)), *_resampled(told, round_.numpy(), np.random.default_rng(seed))])
    curves = {"platt": _platt, "isotonic": _isotonic}[calibration](given, told, weights)
    sums = np.array([_moments(curve(others)) for curve in curves])
    value, (low, high) = float(sums[0, 0]), _mixture_interval(sums[1:], confidence, len(others))
    return Estimate(min(low, value), value, max(high, value), f"probabilities calibrated on {len(told)} answers")


Curve = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


def _platt(
    scores: Float[np.ndarray, " k"], relevant: Float[np.ndarray, " k"], weights: Float[np.ndarray, "b k"]
) -> list[Curve]:
    """Logistic functions nearest to weighted answers, which count (n + 1) / (n + 2) rather than 1; by Newton's method.

    All weightings are fitted at once. A step is at most 1 in each coefficient of the standardised score.
    """
    from scipy.special import expit

    centre, unit = scores.mean(), scores.std() or 1.0
    design = np.stack([(scores - centre) / unit, np.ones(len(scores))], axis=1)
    positives, negatives = (weights @ part for part in (relevant, 1 - relevant))
    targets = np.where(relevant > 0, ((positives + 1) / (positives + 2))[:, None], (1 / (negatives + 2))[:, None])
    found, pairs = np.zeros((len(weights), 2)), (design[:, :, None] * design[:, None]).reshape(-1, 4)
    for _ in range(NEWTON_STEPS):
        chances = expit(found @ design.T)
        slope = (weights * (targets - chances)) @ design
        bend = (weights * chances * (1 - chances)) @ pairs + RIDGE
        found += np.clip(np.linalg.solve(bend.reshape(-1, 2, 2), slope[:, :, None])[:, :, 0], -1, 1)

    def curve(slope: float, intercept: float) -> Curve:
        return lambda others: expit(slope * (others - centre) / unit + intercept)

    return [curve(*one) for one in found.tolist()]


def _isotonic(
    scores: Float[np.ndarray, " k"], relevant: Float[np.ndarray, " k"], weights: Float[np.ndarray, "b k"]
) -> list[Curve]:
    """Rising functions nearest to weighted answers, constant beyond the scores that were asked about."""
    from sklearn.isotonic import IsotonicRegression

    kind: Any = IsotonicRegression
    fitted = [kind(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, relevant, row) for row in weights]
    return [one.predict for one in fitted]


def _resampled(
    relevant: Float[np.ndarray, " k"], round_: Int[np.ndarray, " k"], rng: np.random.Generator
) -> list[Float[np.ndarray, " k"]]:
    """How often each answer is drawn by each bootstrap sample of rounds; all samples have answers of both kinds."""
    rounds, member = np.unique(round_, return_inverse=True)
    drawn: list[Float[np.ndarray, " k"]] = []
    while len(drawn) < RESAMPLES:
        times = np.bincount(rng.integers(len(rounds), size=len(rounds)), minlength=len(rounds)).astype(float)[member]
        drawn += [times] if 0 < times @ relevant < times.sum() else []
    return drawn


def _moments(probabilities: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean and standard deviation of a sum of independent events."""
    return float(probabilities.sum()), math.sqrt(float((probabilities * (1 - probabilities)).sum()))


def _mixture_interval(sums: Float[np.ndarray, "b 2"], confidence: float, most: int) -> tuple[float, float]:
    """Quantiles of a mixture of normal distributions, cut to what is possible."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    means, deviations = sums[:, 0], np.maximum(sums[:, 1], 1e-9)

    def quantile(level: float) -> float:
        reach = 10 * deviations.max() + 1
        return float(
            brentq(lambda x: ndtr((x - means) / deviations).mean() - level, means.min() - reach, means.max() + reach)
        )

    low, high = quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)
    return min(max(low, 0.0), most), min(max(high, 0.0), most)


def chao(captures: Bool[Tensor, "k m"], confidence: float = 0.95) -> Estimate:
    r"""Chao's lower bound of how many relevant images no member of a committee would have proposed, bias-corrected.

    .. math:: \hat f_0 = \frac{f_1 (f_1 - 1)}{2 (f_2 + 1)}

    `f_j` is the number of found images that j members would have proposed. Found images that none would have proposed
    are known members of `f_0`, and are taken off. It is a lower bound: images that are hard for all members alike are
    not seen in it.

    Args:
        captures: which of m members would have proposed each of k found images.
        confidence: of the log-normal interval.

    Source: Chao, Biometrics 43(4), 1987; variance and the case of f_0 = 0 as in EstimateS (Colwell).
    """
    counts = _frequencies(captures)
    once, twice = int(counts[1]), int(counts[2]) if len(counts) > 2 else 0
    missing = once * (once - 1) / (2 * (twice + 1))
    variance = (
        missing
        + once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    found = f"Chao's bound, {captures.shape[1]} members"
    return _log_normal(missing, variance, counts, confidence, found).less(int(counts[0]))


def chao_rivest(captures: Bool[Tensor, "k m"], confidence: float = 0.95) -> Estimate:
    r"""Lower bound of Rivest and Baillargeon: the log-linear model whose heterogeneity is never negative.

    .. math:: \log \mathrm{E} f_j = \log \tbinom{m}{j} + \gamma + \beta j + \eta_j, \quad
              \eta_1 = \eta_2 = 0,\; \eta_j \ge 0, \qquad \hat f_0 = e^{\gamma}

    Fitted by Poisson maximum likelihood. Where every :math:`\eta_j` is above 0 it is Chao's estimate times (m - 1) / m;
    where images proposed by many members are fewer than that, they count too. Frequencies are corrected for bias as
    in Rcapture's `closedp.bc`: f_1 - 1/2 and f_2 + 1. Found images that no member would have proposed are taken off.

    Args:
        captures: which of m members, two at least, would have proposed each of k found images.
        confidence: of the log-normal interval.

    Source: Rivest & Baillargeon, Biometrics 63(4), 2007 (Rcapture, model Mh, h = "LB"); for stopping Bron, van der
    Heijden, Feelders & Siebes, arXiv 2404.01176.
    """
    counts = _frequencies(captures)
    corrected = counts[1:].astype(float)
    corrected[0], corrected[1] = max(corrected[0] - 0.5, 0.0), corrected[1] + 1
    missing, variance = _lower_bound(corrected) if corrected[0] else (0.0, 0.0)
    found = f"the bound of Chao and Rivest, {captures.shape[1]} members"
    return _log_normal(missing, variance, counts, confidence, found).less(int(counts[0]))


def _frequencies(captures: Bool[Tensor, "k m"]) -> Int[np.ndarray, " m+1"]:
    """How many images 0, 1, ..., m members would have proposed."""
    return np.bincount(captures.sum(dim=1).numpy(), minlength=captures.shape[1] + 1)


def _lower_bound(counts: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """Estimate and variance of the log-linear model; an eta that would be negative is 0, any other fits its count."""
    from scipy.optimize import minimize
    from scipy.special import comb

    members = len(counts)
    times = np.arange(1, members + 1)
    ways, free = comb(members, times), times > 2
    start = np.array([math.log(counts[0] ** 2 * (members - 1) / (2 * members * counts[1])), 0.0])
    start[1] = math.log(counts[0] / members) - start[0]  # fits f_1 and f_2

    def excess(point: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " m"]:
        """Expected minus observed counts, where eta does not take up the difference."""
        expected = ways * np.exp(point[0] + point[1] * times)
        return np.where(free & (expected < counts), 0.0, expected - counts)

    def loss(point: Float[np.ndarray, " 2"]) -> tuple[float, Float[np.ndarray, " 2"]]:
        linear = point[0] + point[1] * times
        expected, apart = ways * np.exp(linear), excess(point)
        saturated = np.where(counts > 0, counts - counts * np.log(np.maximum(counts, 1e-300) / ways), 0.0)
        each = np.where(free & (expected < counts), saturated, expected - counts * linear)
        return float(each.sum()), np.array([apart.sum(), (apart * times).sum()])

    gamma, beta = minimize(loss, start, jac=True, method="BFGS").x
    expected = ways * np.exp(gamma + beta * times)
    used = np.where(free & (expected < counts), 0.0, expected)
    information = np.array([[used.sum(), (used * times).sum()], [(used * times).sum(), (used * times**2).sum()]])
    missing = math.exp(gamma)
    return missing, missing + missing**2 * float(np.linalg.inv(information)[0, 0])


def _log_normal(
    missing: float, variance: float, counts: Int[np.ndarray, " c"], confidence: float, method: str
) -> Estimate:
    """Chao's log-normal interval; where nothing seems to be missing, from the chance of that."""
    from scipy.special import ndtri

    deviations = float(ndtri((1 + confidence) / 2))
    if missing > 0:
        factor = math.exp(deviations * math.sqrt(math.log1p(variance / missing**2)))
        return Estimate(missing / factor, missing, missing * factor, method)
    seen = int(counts[1:].sum())
    if seen == 0:
        return Estimate(0.0, 0.0, math.inf, method)
    chance = float((counts[1:] * np.exp(-np.arange(1, len(counts)))).sum()) / seen
    expected = seen * chance / (1 - chance)
    return Estimate(0.0, 0.0, expected + deviations * math.sqrt(seen * chance) / (1 - chance), method)
