"""Measures, in the running training, the weight decay that each parameter really has."""

from __future__ import annotations

import dataclasses

from ...evidence import Evidence, Finding, Training
from .functional import bias_and_norm_parameters, no_decay_parameters

__all__ = ['DecayEvidence']


@dataclasses.dataclass
class _Counts:
    """The parameters that train, by kind and decay.

    Attributes:
        free: Biases and norm parameters without decay.
        wrong: Names of those with decay.
        scales: Names of the others without decay that `no_decay_parameters` names.
        decays: The decays of all others, by name.
        bare: Names of weights without decay.
    """

    free: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    scales: list[str] = dataclasses.field(default_factory=list)
    decays: dict[str, float] = dataclasses.field(default_factory=dict)
    bare: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        rates = '/'.join(f'{value:g}' for value in sorted(set(self.decays.values()))) or '0'
        text = (f'{self.free} of {self.free + len(self.wrong)} bias and norm parameters without '
                f'decay; {len(self.decays)} others decay {rates}')
        if self.scales:
            text += f', {len(self.scales)} other vectors do not'
        return text + _named(self.wrong, 'with decay') + _named(self.bare, 'weights without decay')


class DecayEvidence(Evidence):
    """Reads the weight decay of every parameter from the optimizers' groups, as it is now.

    The rule: biases and norm parameters have none, and since the start no other parameter has
    gained or lost one. Which weights decay, and how much, is the config's; frozen parameters do
    not count.
    """

    def __init__(self) -> None:
        self._first = _Counts()

    def start(self, training: Training) -> None:
        """Remembers what decays."""
        self._first = _count(training)

    def finding(self, training: Training) -> Finding:
        """Counts the parameters with and without decay."""
        found, first = _count(training), self._first
        lost = [name for name in [*found.bare, *found.scales] if name in first.decays]
        gained = [name for name in found.decays if name in [*first.scales, *first.bare]]
        live: bool | None = bool(found.free and found.decays) \
            and not (found.wrong or lost or gained)
        measured = str(found) + _named(lost, 'decayed at the start') + _named(
            gained, 'did not decay at the start')
        if not (found.decays or found.wrong or first.decays or first.wrong):
            live, measured = None, 'the optimizer has no weight decay to exempt from'
        elif not (found.free or found.wrong):
            live, measured = None, 'no bias or norm parameter trains, so there is nothing to exempt'
        return Finding('no decay on biases and norms, the decay of the optimizer elsewhere', live,
                       measured, {
                           'without_decay': found.free, 'wrongly_decayed': found.wrong,
                           'decays': sorted(set(found.decays.values())),
                           'others_decayed': len(found.decays), 'others_not_decayed': found.bare,
                           'other_vectors_not_decayed': len(found.scales),
                           'lost_decay': lost, 'gained_decay': gained})


def _count(training: Training) -> _Counts:
    model, found = training.model, _Counts()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kind, free = set(bias_and_norm_parameters(model)), set(no_decay_parameters(model))
    for group in training.param_groups:
        decay = float(group.get('weight_decay') or 0.0)
        for parameter in group['params']:
            name = names.get(id(parameter), '?')
            if not parameter.requires_grad:
                continue
            if name in kind:
                found.free += decay == 0
                found.wrong += [name] if decay else []
            elif decay:
                found.decays[name] = decay
            else:
                (found.scales if name in free else found.bare).append(name)
    return found


def _named(names: list[str], words: str) -> str:
    """A clause with the first names; empty without any."""
    return f'; {words}: {", ".join(names[:3])}{", ..." if names[3:] else ""}' if names else ''
