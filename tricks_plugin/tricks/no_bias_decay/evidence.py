"""Measures, in the running training, the weight decay that each parameter really has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...evidence import Evidence, Finding
from .functional import bias_and_norm_parameters

__all__ = ['DecayEvidence']


class DecayEvidence(Evidence):
    """Reads the weight decay of every parameter from the optimizers' groups.

    Args:
        weight_decay: The decay that was planned for all other parameters.
    """

    def __init__(self, weight_decay: float) -> None:
        self._planned = weight_decay
        self._exempt: dict[int, str] = {}

    def start(self, runner: Any) -> None:
        """Names the biases and norm parameters of the model as it is trained."""
        model = getattr(runner.model, 'module', runner.model)
        parameters = dict(model.named_parameters())
        self._exempt = {id(parameters[name]): name for name in bias_and_norm_parameters(model)}

    def finding(self, runner: Any) -> Finding:
        """Counts the parameters with and without decay."""
        free, wrong, decayed, bare = 0, [], [], 0
        for group in _groups(runner):
            decay = float(group.get('weight_decay', 0.0))
            for parameter in group['params']:
                if id(parameter) not in self._exempt:
                    decayed.append(decay)
                    bare += decay == 0
                elif decay == 0:
                    free += 1
                else:
                    wrong.append(self._exempt[id(parameter)])
        live = bool(free) and not wrong and bare < len(decayed)
        values = sorted({decay for decay in decayed if decay > 0})
        rates = '/'.join(f'{value:g}' for value in values) or '0'
        measured = (f'{free} of {free + len(wrong)} bias and norm parameters without decay; '
                    f'{len(decayed) - bare} others decay {rates}')
        if bare:
            measured += f', {bare} others do not decay'
        if wrong:
            measured += f' (with decay: {", ".join(wrong[:3])}{", ..." if wrong[3:] else ""})'
        return Finding(f'no decay on biases and norms, {self._planned:g} elsewhere', live, measured,
                       {'without_decay': free, 'wrongly_decayed': wrong, 'decays': values,
                        'others_decayed': len(decayed) - bare, 'others_not_decayed': bare})


def _groups(runner: Any) -> Iterator[dict[str, Any]]:
    wrapper = runner.optim_wrapper
    inner = wrapper.values() if hasattr(wrapper, 'optim_wrappers') else [wrapper]
    for item in inner:
        yield from item.optimizer.param_groups
