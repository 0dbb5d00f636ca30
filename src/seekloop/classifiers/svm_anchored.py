r"""Linear SVM pulled towards the query: :math:`\tfrac12 \|w - \lambda l_q\|^2` in place of :math:`\tfrac12 \|w\|^2`."""

from jaxtyping import Float
from torch import Tensor

from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.declared import component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer


@component
class SvmAnchored(SvmNumba):
    r"""The plain machine in the first round; later ones are anchored at :math:`\lambda l_q`.

    :math:`l_q` is the descriptor of the query's own object (`TrainingRows.query`), and :math:`\lambda` is the length of
    the first round's w, so that the anchor is as long as a hyperplane is. It travels in `LinearScorer.anchor`: a search
    that is resumed must hand that scorer back, or it starts from a new first round. The intercept is not anchored.

    Solved like `svm_numba`, whose arguments it takes: in the dual only the point to which w returns moves.
    """

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query; without `previous` this is the first round.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
            ConfigError: if a fit needs more than `max_iter` passes.
        """
        if isinstance(previous, LinearScorer) and previous.anchor is not None:
            return self.fit_anchored(rows, previous.anchor, previous)
        plain = super().fit(rows, previous)
        return LinearScorer(plain.weights, plain.intercept, plain.duals, anchor=plain.weights.norm(dim=1))

    def fit_anchored(self, rows: TrainingRows, anchor: Float[Tensor, " q"], previous: Scorer | None) -> LinearScorer:
        """Fit with a given scale of the anchor; 0 is the plain machine."""
        if not rows.query.isfinite().all():
            raise ValueError("a query's own descriptor has NaN or infinity: it cannot be an anchor")
        centres = anchor[:, None].double() * rows.query.double()
        fitted = self.fit_around(centres, rows, previous)
        return LinearScorer(fitted.weights, fitted.intercept, fitted.duals, anchor)
