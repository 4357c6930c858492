"""What a recipe trains with beside its tricks, where the user says nothing else.

The bag and its baseline were measured on the same ground, which is not that of timm's defaults;
and the baseline is without the tricks that those hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .facts import model_facts

__all__ = ['GROUND', 'ground']

# He et al., arXiv 1812.01187: weight decay 1e-4 (authors' settings); 200 epochs with mixup and 120
# without (section 5.5). The LR is linear in the batch (section 3.1) whatever the optimizer.
_BAG = {'weight_decay': 1e-4, 'lr_base_scale': 'linear', 'epochs': 200}
GROUND: dict[str, dict[str, Any]] = {
    'bag_of_tricks': _BAG,
    'bag_of_tricks_fast': _BAG,
    # Hard labels (section 5.2), decay on biases and norms, every scale starts at 1 (section 3.1).
    'baseline_step': {**_BAG, 'epochs': 120, 'smoothing': 0.0,
                      'opt_kwargs': {'filter_bias_and_bn': False},
                      'model_kwargs': {'zero_init_last': False}},
}
_SGD = ('sgd', 'momentum', 'nesterov')


def ground(recipe: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, without those that mean nothing for this run.

    Args:
        recipe: Its name.
        args: timm's settings by name, as they stand.

    Returns:
        Settings by name; empty for a recipe of tricks alone. A dict holds the user's entries too.
    """
    settings = dict(GROUND.get(recipe, {}))
    if not str(args.get('opt') or 'sgd').lower().endswith(_SGD):
        settings.pop('weight_decay', None)  # chosen for SGD
    if 'model_kwargs' in settings and not _starts_at_zero(args, settings['model_kwargs']):
        del settings['model_kwargs']
    return {key: {**value, **(args.get(key) or {})} if isinstance(value, dict) else value
            for key, value in settings.items()}


def _starts_at_zero(args: Mapping[str, Any], option: dict[str, Any]) -> bool:
    """Whether the model starts scales at zero, and an option would have it not do so."""
    if any(args.get(name) for name in ('pretrained', 'pretrained_path', 'initial_checkpoint')):
        return False
    known = model_facts(args)
    if not known or not known.zero_scales:
        return False
    without = model_facts({**args, 'model_kwargs': {**(args.get('model_kwargs') or {}), **option}})
    return without is not None and not without.zero_scales
