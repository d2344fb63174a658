"""Means over evaluation items with their sampling error, by the bootstrap (Efron, 1979)."""

import numpy as np
from numpy import ndarray

DRAWS = 2000  # the ends of an interval then vary by about a tenth of its width
Interval = tuple[float, float] | None


class ItemMeans:
    """The mean over items in groups of equal weight, of the items themselves and of draws from them.

    Every call uses the same draws, so that what is computed from several models' answers to the same items is paired.
    Args: groups, the group of each item.
    """

    def __init__(self, groups: list[str]) -> None:
        generator, labels = np.random.default_rng(0), np.array(groups)
        self.places = []
        for group in dict.fromkeys(groups):
            members = np.flatnonzero(labels == group)
            drawn = members[generator.integers(len(members), size=(DRAWS, len(members)))]
            self.places.append(np.vstack([members, drawn]))

    def __call__(self, scores: list[float]) -> ndarray:
        """(1 + DRAWS) means: of the items, and of each draw."""
        values = np.array(scores)
        return np.mean([values[places].mean(axis=1) for places in self.places], axis=0)


def interval(means: ndarray) -> Interval:
    """95 % percentile interval of what `ItemMeans` gives, or of what is computed from it."""
    low, high = np.quantile(means[1:], [0.025, 0.975])
    return float(low), float(high)
