"""`TimmBackbone`: any of timm's models as a backbone in mmengine's libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..plan.errors import TrickError, nearest

__all__ = ['TimmBackbone']

_SHOWN = 4


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """The features of a timm model, at the strides that a neck wants.

    Parameters, buffers and modules have timm's own names, so that a checkpoint of a timm training
    (with the bag or without) fits as it is, and a detector's checkpoint holds
    ``backbone.<timm's name>``. What a model has behind its last feature is not built.

    Args:
        model_name: Name of the model, such as ``tf_efficientnet_lite0``.
        out_indices: Which of the model's feature levels to give, counted from 0 at the finest, as
            ``timm.create_model(..., features_only=True)`` counts them: for most networks level
            ``i`` has stride ``2 ** (i + 1)``.
        pretrained: Whether timm fetches its own weights.
        checkpoint: A file of weights under timm's names: of a model, or of a timm training, whose
            averaged weights are taken where it has some. Instead of `pretrained`.
        frozen_stages: Feature levels 0 to this one, and all before them, get no gradient, and
            their norms stay as they are; -1 for none. For timm's ResNets this is mmdet's count:
            0 is the stem, 1 the stem and the first stage.
        norm_eval: Whether every BatchNorm keeps its statistics while training.
        in_channels: Channels of the image.
        model_kwargs: Further arguments of ``timm.create_model``, such as ``drop_path_rate``.
        init_cfg: mmengine's initialisation on top; None leaves timm's own.

    Raises:
        TrickError: For an unknown model, a wrong level, or weights that do not fit.
    """

    def __init__(self, model_name: str, out_indices: Sequence[int] = (1, 2, 3, 4),
                 pretrained: bool = False, checkpoint: str | None = None, frozen_stages: int = -1,
                 norm_eval: bool = False, in_channels: int = 3,
                 model_kwargs: Mapping[str, Any] | None = None,
                 init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        super().__init__(init_cfg)
        if pretrained and checkpoint is not None:
            raise TrickError('TimmBackbone: pretrained=True and checkpoint='
                             f'{checkpoint!r} are two sources of weights: give one')
        self.model_name = model_name
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        features = _create(model_name, self.out_indices, pretrained, in_channels,
                           dict(model_kwargs or {}))
        # Modules, parameters and buffers are the model's own, under its own names; the dicts are
        # shared, so that what replaces a module here (SyncBN) replaces it there.
        net = features.model
        self._modules, self._parameters, self._buffers = (
            net._modules, net._parameters, net._buffers)
        self.__dict__['_net'] = net
        levels = features.feature_info
        self.channels = tuple(levels.channels())
        self.strides = tuple(levels.reduction())
        self._frozen = _up_to(net, [one['module'] for one in levels.info], frozen_stages,
                              model_name)
        for parameter in self._frozen_parameters():
            parameter.requires_grad = False
        if checkpoint is not None:
            self._load(checkpoint)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features.

        Args:
            x: Images, (N, C, H, W), float.

        Returns:
            One tensor (N, C_i, H / stride_i, W / stride_i) for each of ``out_indices``.
        """
        return tuple(self.__dict__['_net'].forward_intermediates(
            x, indices=list(self.out_indices), output_fmt='NCHW', intermediates_only=True))

    def train(self, mode: bool = True) -> TimmBackbone:
        """Sets the mode; frozen parts, and with ``norm_eval`` every BatchNorm, stay in eval."""
        super().train(mode)
        net = self.__dict__.get('_net')
        if net is None:
            return self
        net.training = mode
        if mode:
            for name in self._frozen:
                self.get_submodule(name).eval()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self

    def init_weights(self) -> None:
        """Applies ``init_cfg`` where there is one; timm has initialised the rest."""
        if self.init_cfg:
            super().init_weights()

    def _frozen_parameters(self) -> list[nn.Parameter]:
        if self.frozen_stages < 0:
            return []
        inside = [parameter for name in self._frozen
                  for parameter in self.get_submodule(name).parameters()]
        return [*self.parameters(recurse=False), *inside]

    def _load(self, path: str) -> None:
        from timm.models import load_state_dict
        try:
            weights = load_state_dict(path, weights_only=hasattr(torch.serialization,
                                                                 'safe_globals'))
        except Exception as error:
            raise TrickError(f'TimmBackbone: checkpoint={path!r} cannot be read: '
                             f'{_words(error)}') from None
        wanted = self.state_dict()
        missing = [key for key in wanted if key not in weights]
        odd = [f'{key} {tuple(weights[key].shape)} for {tuple(value.shape)}'
               for key, value in wanted.items()
               if key in weights and weights[key].shape != value.shape]
        if missing or odd:
            raise TrickError(
                f'TimmBackbone: checkpoint={path!r} does not fit {self.model_name}: '
                + '; '.join(part for part in (_some('missing', missing), _some('shape', odd))
                            if part))
        self.load_state_dict({key: weights[key] for key in wanted})
        print_log(f'TimmBackbone: {len(wanted)} entries of {self.model_name} from {path}; '
                  f'{len(weights) - len(wanted)} others of the file are not part of the backbone',
                  'current')


def _words(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0] if text and text[0] else type(error).__name__


def _some(title: str, names: Sequence[str]) -> str:
    if not names:
        return ''
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return f'{title}: {", ".join(names[:_SHOWN])}{more}'


def _create(name: str, out_indices: tuple[int, ...], pretrained: bool, in_channels: int,
            options: dict[str, Any]) -> Any:
    """Timm's feature network of a model, whose features come from ``forward_intermediates``."""
    try:
        import timm
    except ImportError:
        raise TrickError('TimmBackbone needs timm: pip install timm') from None
    if not timm.is_model(name.split('.')[0]) and ':' not in name:
        raise TrickError(f'TimmBackbone: unknown model_name {name!r}'
                         f'{nearest(name, timm.list_models())}')
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True,
                                 feature_cls='getter', out_indices=out_indices,
                                 in_chans=in_channels, **options)
    except Exception as error:
        raise TrickError(f'TimmBackbone: timm cannot build {name!r} with out_indices='
                         f'{out_indices}: {_words(error)}') from error


def _up_to(net: nn.Module, levels: Sequence[str], last: int, name: str) -> list[str]:
    """Names of the modules that run up to the end of feature level ``last``, none inside another.

    timm's networks define their parts in the order in which they run.
    """
    if last == -1:
        return []
    if not -1 <= last < len(levels):
        raise TrickError(f'TimmBackbone: frozen_stages must be from -1 to {len(levels) - 1} for '
                         f'{name}, got {last}')
    end = levels[last]
    found: list[str] = []
    for path, _ in net.named_modules():
        if not path or end.startswith(f'{path}.') or any(path.startswith(f'{one}.')
                                                         for one in found):
            continue
        found.append(path)
        if path == end:
            return found
    raise TrickError(f'TimmBackbone: {name} has no module {end!r} to freeze up to')
