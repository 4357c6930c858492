"""The base of this package's optimizer constructors: mmengine's groups, with rules put on top."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor

from ..common.backbone import BACKBONE_LR, in_backbone

__all__ = ['GroupRulesConstructor']


class GroupRulesConstructor(DefaultOptimWrapperConstructor):
    """Builds mmengine's groups, one per parameter, and then multiplies the LR of the backbone's.

    An entry ``backbone`` of ``custom_keys`` would do the same and cancel every other rule there:
    multipliers of norms, biases, depth-wise and deformable convolutions, and shorter keys
    (mmengine issue 846). Here all rules have been applied when the LR is multiplied.

    Args:
        optim_wrapper_cfg: As in mmengine.
        paramwise_cfg: As in mmengine, and ``backbone_lr_mult``; ``bypass_duplicate`` is on by
            default, so that a layer under two names is taken once.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None,
    ) -> None:
        # Never empty: mmengine builds a single group of all parameters without calling add_params.
        paramwise_cfg = {BACKBONE_LR: 1.0, 'bypass_duplicate': True, **(paramwise_cfg or {})}
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def add_params(
        self, params: list[dict[str, Any]], module: Any, prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Adds the groups of a module and its children, which mmengine visits by recursion."""
        super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)
        if not prefix:
            self.settle(params, module)

    def settle(self, params: list[dict[str, Any]], module: Any) -> None:
        """Puts the rules on the groups of the whole model, in place.

        Args:
            params: One group per trainable parameter.
            module: The model.
        """
        factor = self.paramwise_cfg[BACKBONE_LR]
        if factor == 1:
            return
        inside = {id(parameter) for name, parameter in module.named_parameters()
                  if in_backbone(name)}
        groups = [group for group in params
                  if any(id(parameter) in inside for parameter in group['params'])]
        for group in groups:
            group['lr'] = group.get('lr', self.base_lr) * factor
        print_log(f'{len(groups)} parameters of the backbone have {factor:g} of their LR',
                  logger='current', level=logging.INFO)
