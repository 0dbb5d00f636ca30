"""Local features made by hand, and moved by a known map."""

import numpy as np

from seekloop.contracts.local_features import LocalFeatures


def features(mean, covariance=None, channel=None, scale=None, sizes=((48, 64),)):
    """Unit circles on channels of their own, on one scale, unless it is said otherwise."""
    mean = np.asarray(mean, dtype=np.float32).reshape(-1, 2)
    count = len(mean)
    covariance = np.tile(np.eye(2), (count, 1, 1)) if covariance is None else covariance
    channel = np.arange(count) if channel is None else np.asarray(channel)
    scale = np.zeros(count, dtype=np.int64) if scale is None else np.asarray(scale)
    strength = np.linspace(2, 1, count, dtype=np.float32)
    return LocalFeatures(mean, covariance.astype(np.float32), channel, strength, scale, np.array(sizes))


def scattered(count, channels, seed=0, width=64, height=48):
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(count, 2, 2))
    covariance = 0.4 * spread @ spread.transpose(0, 2, 1) + 0.4 * np.eye(2)
    return features(rng.random((count, 2)) * [width, height], covariance, rng.integers(0, channels, count))


def moved(given, linear, shift):
    linear = np.asarray(linear, dtype=np.float64)
    covariance = linear @ given.covariance.astype(np.float64) @ linear.T
    return features(given.mean @ linear.T + shift, covariance, given.channel, given.scale, given.sizes)
