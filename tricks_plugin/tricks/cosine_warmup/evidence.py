"""Measures, in the running training, that the learning rate follows the cosine."""

from __future__ import annotations

from ...evidence import RateEvidence

__all__ = ['CosineEvidence']


class CosineEvidence(RateEvidence):
    """Compares every group's LR with a warm-up and a cosine, worked out a second time.

    The closed form takes the half-angle identity, the run's real length and each group's
    ``initial_lr``.
    """

    kinds = ('cosine',)
