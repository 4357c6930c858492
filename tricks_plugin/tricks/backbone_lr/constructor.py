"""The optimizer constructor that lowers the backbone's learning rate."""

from __future__ import annotations

from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from ...mm.optim_constructor import GroupRulesConstructor

__all__ = ['BackboneLrOptimWrapperConstructor']


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLrOptimWrapperConstructor(GroupRulesConstructor):
    """mmengine's constructor that knows ``paramwise_cfg.backbone_lr_mult``."""
