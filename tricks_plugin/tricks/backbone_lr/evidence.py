"""Measures, in the running training, at which share of the others' rate the backbone trains."""

from __future__ import annotations

from collections import Counter

from ...evidence import Evidence, Finding, Training
from .functional import backbone_parameters

__all__ = ['BackboneLrEvidence']

_SLACK = 1e-6


class BackboneLrEvidence(Evidence):
    """Reads base LR and LR of every trainable parameter from the optimizers' groups.

    The rule: the base LR that most of the backbone's parameters have is the promised share of the
    one that most others have, and no backbone parameter trains above its base LR. The decays of
    both are shown; whether they are right is `no_bias_decay`'s to say.

    Args:
        lr_mult: The share.
    """

    def __init__(self, lr_mult: float) -> None:
        self.lr_mult = lr_mult

    def finding(self, training: Training) -> Finding:
        """Compares both kinds as the groups are now."""
        planned = f"the backbone at {self.lr_mult:g} of the others' LR"
        inside = {id(one) for one in backbone_parameters(training.model)}
        bases: dict[bool, Counter[float]] = {True: Counter(), False: Counter()}
        decays: dict[bool, set[float]] = {True: set(), False: set()}
        above = 0
        for name, optimizer in training.optimizers.items():
            curve = training.schedule.get(name)
            for group in optimizer.param_groups:
                scale = float(group.get('lr_scale', 1.0)) if curve and curve.scaled else 1.0
                base = float(group.get('initial_lr', group['lr'])) * scale
                for one in group['params']:
                    if one.requires_grad:
                        kind = id(one) in inside
                        bases[kind][base] += 1
                        decays[kind].add(float(group.get('weight_decay') or 0.0))
                        above += kind and group['lr'] > base * (1 + _SLACK)
        if not (bases[True] and bases[False]):
            which = 'backbone' if bases[False] else 'rest of the model'
            return Finding(planned, None, f'no parameter of the {which} trains')
        own, other = (bases[kind].most_common(1)[0][0] for kind in (True, False))
        share = own / other if other else float('inf')
        words = (f'base LR {own:.6g} for {sum(bases[True].values())} parameters of the backbone, '
                 f'{other:.6g} for {sum(bases[False].values())} others: a share of {share:.6g}; '
                 f'decays {_rates(decays[True])} and {_rates(decays[False])}')
        if above:
            words += f'; {above} train above their base LR'
        live = abs(share - self.lr_mult) <= _SLACK * self.lr_mult and not above
        return Finding(planned, live, words, {
            'backbone_lr': own, 'lr': other, 'share': share, 'above': above,
            'backbone_decays': sorted(decays[True]), 'decays': sorted(decays[False])})


def _rates(values: set[float]) -> str:
    return '/'.join(f'{value:g}' for value in sorted(values))
