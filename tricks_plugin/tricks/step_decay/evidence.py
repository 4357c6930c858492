"""Measures, in the running training, that the learning rate falls where it should."""

from __future__ import annotations

from ...evidence import RateEvidence

__all__ = ['StepEvidence']


class StepEvidence(RateEvidence):
    """Compares every group's LR with the steps passed, from the end of the warm-up on."""

    kinds = ('step', 'multistep')
