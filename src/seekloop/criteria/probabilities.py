"""What the criteria of classification have in common: they need the probability of every class."""

from jaxtyping import Float
from torch import Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView


def require_probabilities(view: CandidateView, name: str) -> Float[Tensor, "q n c"]:
    """The probabilities of a view.

    Raises:
        ConfigError: where there are none, as in searches, which have one score per image.
    """
    if view.probabilities is None:
        why = "it looks at the probabilities of several classes, which only `seekloop learn` has"
        raise ConfigError("criterion", name, why, "For searches use criterion=uncertainty.")
    return view.probabilities
