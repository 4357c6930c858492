"""The initializer that loads ImageNet weights into a ResNet, all of them or none."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader

from .functional import match_resnet_keys, unmatched_keys

__all__ = ['ResNetDPretrainedInit']


@WEIGHT_INITIALIZERS.register_module()
class ResNetDPretrainedInit(PretrainedInit):
    """Loads a backbone's weights from mmdet's, mmseg's, mmpretrain's or torchvision's layout.

    mmengine's ``Pretrained`` loads what fits by name and leaves the rest at random: of
    mmpretrain's ResNet-D, the whole stem and the shortcut of the first stage. This one renames
    (`match_resnet_keys`) and refuses a checkpoint that leaves a tensor of the backbone unmatched.
    Only what ImageNet networks do not have may keep its own initial values: the offsets of
    deformable convolutions, and plugins.

    Args:
        checkpoint: File, URL, or a name such as ``mmcls://resnet50_v1d``.
        prefix: What the backbone's names begin with in the checkpoint; None for ``backbone.``
            where it occurs, else none.
        map_location: Of `torch.load`.

    Raises:
        ValueError: When called, if a tensor of the backbone has no counterpart of its shape.
    """

    def __call__(self, module: torch.nn.Module) -> None:
        """Fills the backbone in place."""
        # mmengine runs only its own 'Pretrained' after the children's init_weights, which would
        # overwrite the weights of deformable convolutions.
        for child in module.children():
            start = getattr(child, 'init_weights', None)
            if callable(start) and not getattr(child, 'is_init', False):
                start()
        checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        state = _without_prefix(checkpoint.get('state_dict', checkpoint), self.prefix)
        wanted = module.state_dict()
        state = match_resnet_keys(state, wanted)
        extra = _extra_parts(module)
        missing = [name for name in unmatched_keys(state, wanted)
                   if not name.startswith(extra) and '.conv_offset.' not in name]
        if missing:
            shown = ', '.join(missing[:4]) + (' ...' if missing[4:] else '')
            raise ValueError(
                f'{self.checkpoint} leaves {len(missing)} of {len(wanted)} tensors of '
                f'{type(module).__name__} without weights of their shape: {shown}; it holds the '
                'weights of another architecture, or in a layout that is not known')
        fitting = {name: value for name, value in state.items() if name in wanted
                   and value.shape == wanted[name].shape}
        module.load_state_dict(fitting, strict=False)
        print_log(f'ResNetDPretrainedInit: {len(fitting)} of {len(wanted)} tensors of '
                  f'{type(module).__name__} from {self.checkpoint}', logger='current')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())


def _without_prefix(state: Any, prefix: str | None) -> dict[str, torch.Tensor]:
    """The backbone's part of a checkpoint."""
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    if prefix is None:
        prefix = 'backbone.' if any(name.startswith('backbone.') for name in state) else ''
    return {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}


def _extra_parts(module: torch.nn.Module) -> tuple[str, ...]:
    """The prefixes of plugins, which no ImageNet network has."""
    return tuple(f'{path}.{plugin}.' for path, block in module.named_modules()
                 for where in ('after_conv1', 'after_conv2', 'after_conv3')
                 for plugin in getattr(block, f'{where}_plugin_names', ()))
