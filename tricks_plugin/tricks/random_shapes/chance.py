"""How likely draws are, for the measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ['EqualDraws', 'binomial_tail', 'size_weights']


def size_weights(sizes: Sequence[int], home: int | None = None,
                 share: float = 0.0) -> dict[int, float]:
    """The probability of each size in one draw of `functional.draw_size`.

    Args:
        sizes: What is drawn from.
        home: The one that is drawn more often.
        share: Its share; 0 draws all alike.

    Example:
        >>> size_weights([96, 128, 160], home=128, share=0.5)
        {96: 0.25, 128: 0.5, 160: 0.25}
    """
    found = sorted(set(sizes))
    if home not in found or not share or len(found) == 1:
        return dict.fromkeys(found, 1 / len(found))
    rest = (1 - share) / (len(found) - 1)
    return {size: share if size == home else rest for size in found}


def binomial_tail(trials: int, hits: int, chance: float) -> float:
    """The probability of a number of hits at least as far to its side of the mean.

    Args:
        trials: Independent trials.
        hits: How many succeeded.
        chance: The probability of each.

    Example:
        >>> binomial_tail(4, 4, 0.5), binomial_tail(3, 0, 0.25)
        (0.0625, 0.421875)
    """
    counts = range(hits, trials + 1) if hits > trials * chance else range(hits + 1)
    return sum(math.comb(trials, count) * chance ** count * (1 - chance) ** (trials - count)
               for count in counts)


class EqualDraws:
    """How likely the run of draws that all gave the shape before is, up to now.

    Attributes:
        log_chance: Its logarithm; 0 after a draw that changed something.
    """

    def __init__(self) -> None:
        self.log_chance = 0.0
        self._compared: list[tuple[bool, float]] = []

    def add(self, same: bool, chance: float) -> None:
        """Notes whether a draw left the shape of a batch as it was, and how likely that is."""
        self._compared.append((same, chance))

    def close(self) -> None:
        """Takes one draw into account: equal, if all that was compared after it is."""
        if not self._compared:
            return
        if all(same for same, _ in self._compared):
            self.log_chance += math.log(min(chance for _, chance in self._compared))
        else:
            self.log_chance = 0.0
        self._compared = []
