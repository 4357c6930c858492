"""Measures, before the first update, the scales that start at zero, and later that they grow."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...evidence import Evidence, Finding, Training
from .functional import last_norm

__all__ = ['ZeroScaleEvidence']

_GROWN = 20  # updates after which zeros that train are zeros no more


class ZeroScaleEvidence(Evidence):
    """Counts the residual branches whose last scale is zero before the first update.

    The rule, for the backbone or, where there is none, the whole model: every last scale that
    trains starts at zero, and does not stay there. Where no residual branch is known, norms with
    zero scales are counted.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._zero: list[torch.Tensor] = []

    def before_iteration(self, training: Training) -> None:
        """Reads the scales once, before the very first forward pass."""
        if self._counts:
            return
        part = getattr(training.model, 'backbone', training.model)
        scales = {id(scale): scale for module in part.modules()
                  if (scale := _scale(module)) is not None}
        last = {id(scale): scale for block in part.modules()
                if (scale := _scale(last_norm(block))) is not None and scale.requires_grad}
        zero = {key: scale for key, scale in {**scales, **last}.items()
                if not bool(scale.detach().any())}
        self._zero = list(zero.values())
        self._counts = {'zero': len(zero), 'norms': len(scales), 'residual_branches': len(last),
                        'residual_branches_zero': len(zero.keys() & last.keys())}

    def finding(self, training: Training) -> Finding:
        """The counts; weights that were loaded have no start to tell of."""
        planned, counts = 'last scales start at zero', self._counts
        if training.loaded:
            return Finding(planned, None, f'weights were loaded ({training.loaded})', dict(counts))
        if not counts:
            return Finding(planned, None, 'no iteration yet')
        live = counts['zero'] > 0
        measured = f'{counts["zero"]} of {counts["norms"]} norms started with zero scales'
        values: dict[str, Any] = dict(counts)
        if counts['residual_branches']:
            live = counts['residual_branches_zero'] == counts['residual_branches']
            measured += (f'; {counts["residual_branches_zero"]} of {counts["residual_branches"]} '
                         'residual branches that train end in one')
        if self._zero and training.updates >= _GROWN:
            grown = sum(bool(scale.detach().any()) for scale in self._zero)
            values['grown'] = grown
            measured += f'; {grown} of them have grown since'
            live = live and grown > 0
        return Finding(planned, live, measured, values)


def _scale(module: nn.Module | None) -> torch.Tensor | None:
    """The weight of a norm, or of another module with one number per channel."""
    weight = getattr(module, 'weight', None)
    return weight if isinstance(weight, torch.Tensor) and weight.dim() == 1 else None
