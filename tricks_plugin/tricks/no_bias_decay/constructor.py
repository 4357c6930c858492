"""An optimizer constructor in which ``custom_keys`` do not bring the weight decay back."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from ...mm.optim_constructor import GroupRulesConstructor
from .functional import no_decay_parameters

__all__ = ['NoBiasDecayOptimWrapperConstructor']


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class NoBiasDecayOptimWrapperConstructor(GroupRulesConstructor):
    """mmengine's constructor, with no weight decay on biases, norms and scales, ever.

    In mmengine a parameter that matches an entry of ``custom_keys`` takes its multipliers from
    there alone, and the rules for norms and biases are passed over (mmengine issue 846). Here
    the groups are built as usual, LR multipliers and all, and then the weight decay of every
    parameter that `no_decay_parameters` names is set to 0. This reaches three kinds that the
    rules of mmengine do not know: ``in_proj_bias`` of attention layers, the bias of the offset
    layer in deformable convolutions, and norms that do not derive from torch's.

    Args:
        optim_wrapper_cfg: As in mmengine.
        paramwise_cfg: As in mmengine; its norm and bias multipliers for decay are overruled.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        paramwise_cfg = {**(paramwise_cfg or {}), 'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0}
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def settle(self, params: list[dict[str, Any]], module: Any) -> None:
        """Takes the decay off; see `GroupRulesConstructor.settle`."""
        super().settle(params, module)
        parameters = dict(module.named_parameters())
        exempt = {id(parameters[name]) for name in no_decay_parameters(module)}
        groups = [group for group in params
                  if any(id(parameter) in exempt for parameter in group['params'])]
        for group in groups:
            group['weight_decay'] = 0.0
        print_log(f'{len(groups)} biases, norm parameters and scales have no weight decay',
                  logger='current', level=logging.INFO)
