"""Which parameters of a model are biases and norm parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ['no_decay_parameters', 'param_groups']

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_NORM_NAME = re.compile(r'Norm(\d[dD])?$')
_BIAS_NAME = re.compile(r'(^|_)bias\d*(_|$)')


def no_decay_parameters(model: nn.Module) -> list[str]:
    """Names of the biases and norm parameters, trainable or not, each shared one once.

    A bias is a parameter of at most one dimension with the word ``bias`` in its own name:
    ``bias``, and also ``in_proj_bias`` of an attention layer or ``q_bias``. Swin's
    ``relative_position_bias_table`` has two dimensions and is none.

    A norm parameter is any parameter of torch's batch, instance, group and layer norms and their
    subclasses, and a vector (all dimensions but one of size 1) of a class whose name ends with
    ``Norm``, ``Norm1d``, ``Norm2d`` or ``Norm3d``: ``RMSNorm``, SSD's ``L2Norm``, mmcv's own
    ``SyncBatchNorm``. mmdet's ``NormedLinear`` is a linear layer and none.

    Args:
        model: Any module; without the wrapper of DistributedDataParallel for names as in a
            checkpoint.

    Source: BoT (arXiv 1812.01187) section 3.1; Jia et al. (arXiv 1807.11205) section 3.2.
    """
    return [name for name, _, exempt in _parameters(model) if exempt]


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups for a torch optimizer: with weight decay and without.

    Only trainable parameters are taken; an empty group is left out.

    Args:
        model: Any module.
        weight_decay: For the first group.

    Raises:
        ValueError: If ``weight_decay`` is negative.
    """
    if weight_decay < 0:
        raise ValueError(f'weight_decay must be >= 0, got {weight_decay!r}')
    split: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for _, parameter, exempt in _parameters(model):
        if parameter.requires_grad:
            split[exempt].append(parameter)
    return [{'params': parameters, 'weight_decay': 0.0 if exempt else weight_decay}
            for exempt, parameters in split.items() if parameters]


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Each parameter once, with its name and whether it is a bias or of a norm."""
    seen = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            exempt = _is_bias(name, parameter) or _is_norm(module, parameter)
            yield f'{prefix}.{name}' if prefix else name, parameter, exempt


def _is_bias(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim <= 1 and _BIAS_NAME.search(name) is not None


def _is_norm(module: nn.Module, parameter: nn.Parameter) -> bool:
    if isinstance(module, _NORMS):
        return True
    vector = sum(size > 1 for size in parameter.shape) <= 1
    return vector and any(_NORM_NAME.search(base.__name__) for base in type(module).__mro__)
