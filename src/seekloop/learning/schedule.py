"""How fast to learn, and when."""

import math


def cosine(rate: float, epoch: float, horizon: int) -> float:
    r"""The learning rate at a time, counted in epochs and fractions of them.

    .. math:: \eta(e) = \eta_0 \tfrac{1}{2} (1 + \cos(\pi e / E))

    Args:
        rate: at the start.
        epoch: now.
        horizon: E, the epoch at which the rate would be 0.

    Example:
        >>> cosine(0.2, 0.0, 210), round(cosine(0.2, 105.0, 210), 6)
        (0.2, 0.1)
    """
    return rate * 0.5 * (1 + math.cos(math.pi * min(epoch, horizon) / horizon))
