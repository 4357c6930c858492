"""Measures, before the first update, the scales that really start at zero."""

from __future__ import annotations

from typing import Any

import torch

from ...evidence import Evidence, Finding

__all__ = ['ZeroScaleEvidence']


class ZeroScaleEvidence(Evidence):
    """Counts the norms whose scales are all zero before the first update."""

    def __init__(self) -> None:
        self._zero = self._norms = 0
        self._resumed = False

    def start(self, runner: Any) -> None:
        """Reads the scales once."""
        self._resumed = runner.iter > 0
        for module in runner.model.modules():
            weight = getattr(module, 'weight', None)
            if isinstance(weight, torch.Tensor) and weight.dim() == 1:
                self._norms += 1
                self._zero += int(not weight.detach().any())

    def finding(self, runner: Any) -> Finding:
        """The count; a resumed run cannot tell."""
        if self._resumed:
            return Finding('last scales start at zero', None, 'resumed: the start is over')
        return Finding('last scales start at zero', self._zero > 0,
                       f'{self._zero} of {self._norms} norms started with zero scales',
                       {'zero': self._zero, 'norms': self._norms})
