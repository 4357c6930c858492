"""Which parameters of a model a weight decay should leave alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

__all__ = ['bias_and_norm_parameters', 'no_decay_parameters', 'param_groups']

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_NORM_NAME = re.compile(r'Norm(Act|Tlu)?(\d[dD]([A-Z]\w*)?)?$')
_BIAS_NAME = re.compile(r'(^|_)bias\d*(_|$)')
_SCALE_NAME = re.compile(r'(^|_)(gamma|gain|ls|layer_?scale)_?\d*(_|$)')
_SCALES_NAME = re.compile(r'(^|_)scale\d*(_|$)')
_SCALE_CLASS = re.compile(r'^Affine$|Scale(\d[dD])?$')


def bias_and_norm_parameters(model: nn.Module) -> list[str]:
    """Names of the biases and norm parameters, trainable or not, each shared one once.

    A bias is a parameter of at most one dimension with the word ``bias`` in its own name:
    ``bias``, and also ``in_proj_bias`` of an attention layer or ``q_bias``. Swin's
    ``relative_position_bias_table`` has two dimensions and is none.

    A norm parameter is any parameter of torch's batch, instance, group and layer norms and their
    subclasses, and a vector (all dimensions but one of size 1) of a class whose name ends with
    ``Norm``, ``Norm1d``, ``Norm2d`` or ``Norm3d``: ``RMSNorm``, SSD's ``L2Norm``, mmcv's own
    ``SyncBatchNorm``, timm's ``EvoNorm2dB0``. mmdet's ``NormedLinear`` is a linear layer and none.

    Args:
        model: Any module; without the wrapper of DistributedDataParallel for names as in a
            checkpoint.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.PReLU())
        >>> bias_and_norm_parameters(model)
        ['0.bias']

    Source: BoT (arXiv 1812.01187) section 3.1; Jia et al. (arXiv 1807.11205) section 3.2.
    """
    return [name for name, module, parameter in _parameters(model)
            if _is_bias_or_norm(name, module, parameter)]


def no_decay_parameters(model: nn.Module, no_decay: Sequence[str] = ()) -> list[str]:
    """Names of all parameters that should not decay, trainable or not, each shared one once.

    These are, besides the `bias_and_norm_parameters`:

    - every other parameter of one dimension, as in timm: LayerScale's ``gamma``, CaiT's and BEiT's
      ``gamma_1``, the slope of a PReLU. It is never the weight of a convolution or linear layer,
      and only those the papers decay;
    - scales per channel of another shape, (C, 1, 1) in torchvision's ConvNeXt: vectors with a word
      ``gamma``, ``ls``, ``layer_scale``, ``gain`` or ``scale`` in their own name, or in a class
      named ``...Scale``, ``...Scale2d`` or ``Affine``. A single number needs one of the first four
      words (SkipInit's ``skipinit_gain``);
    - what the model, or a part of it, names in a method ``no_weight_decay()``, as timm's
      transformers name position embeddings and class tokens;
    - what a pattern of ``no_decay`` matches.

    Other single numbers (mmcv's ``Scale``, CLIP's ``logit_scale``) and embeddings decay.

    Args:
        model: Any module; without the wrapper of DistributedDataParallel for names as in a
            checkpoint.
        no_decay: Patterns as in `fnmatch` for whole names, such as ``'*pos_embed'``.

    Raises:
        TypeError: If ``no_decay`` is one string.
        ValueError: If a pattern matches no parameter.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.PReLU())
        >>> no_decay_parameters(model)
        ['0.bias', '1.weight']

    Source: as `bias_and_norm_parameters`; for what else is no weight, timm's
    ``param_groups_weight_decay``.
    """
    if isinstance(no_decay, str):
        raise TypeError(f'no_decay must be a list of patterns, got the string {no_decay!r}')
    parameters = list(_parameters(model))
    for pattern in no_decay:
        if not any(fnmatch.fnmatchcase(name, pattern) for name, _, _ in parameters):
            raise ValueError(f'no_decay: no parameter matches {pattern!r}')
    patterns = [*no_decay, *_named_by_the_model(model)]
    return [name for name, module, parameter in parameters
            if _is_bias_or_norm(name, module, parameter) or _is_scale(name, module, parameter)
            or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def param_groups(
    model: nn.Module, weight_decay: float, no_decay: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Two parameter groups for a torch optimizer: with weight decay and without.

    Only trainable parameters are taken, each once; an empty group is left out.

    Args:
        model: Any module.
        weight_decay: For the first group.
        no_decay: Patterns for more names without decay, see `no_decay_parameters`.

    Raises:
        TypeError: If ``no_decay`` is one string.
        ValueError: If ``weight_decay`` is negative, or a pattern matches no parameter.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
        >>> optimizer = torch.optim.SGD(param_groups(model, 5e-4), lr=0.1, momentum=0.9)
        >>> [(group['weight_decay'], len(group['params'])) for group in optimizer.param_groups]
        [(0.0005, 1), (0.0, 3)]
    """
    if weight_decay < 0:
        raise ValueError(f'weight_decay must be >= 0, got {weight_decay!r}')
    exempt = set(no_decay_parameters(model, no_decay))
    split: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, _, parameter in _parameters(model):
        if parameter.requires_grad:
            split[name in exempt].append(parameter)
    return [{'params': parameters, 'weight_decay': 0.0 if free else weight_decay}
            for free, parameters in split.items() if parameters]


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Each parameter once, with its name and the module that holds it."""
    seen = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f'{prefix}.{name}' if prefix else name, module, parameter


def _named_by_the_model(model: nn.Module) -> Iterator[str]:
    """The names, or patterns, that a model and its parts ask no decay for."""
    for prefix, module in model.named_modules():
        asked: Callable[[], Any] | None = getattr(module, 'no_weight_decay', None)
        if callable(asked):
            yield from (f'{prefix}.{name}' if prefix else name for name in asked())


def _own(name: str) -> str:
    return name.rpartition('.')[2]


def _is_bias_or_norm(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    if parameter.ndim <= 1 and _BIAS_NAME.search(_own(name)):
        return True
    if isinstance(module, _NORMS):
        return True
    return _is_vector(parameter) and _has_base(module, _NORM_NAME)


def _is_scale(name: str, module: nn.Module, parameter: nn.Parameter) -> bool:
    if parameter.ndim == 1:
        return True
    if not _is_vector(parameter):
        return False
    if _SCALE_NAME.search(_own(name)):
        return True
    several = _SCALES_NAME.search(_own(name)) or _has_base(module, _SCALE_CLASS)
    return parameter.numel() > 1 and bool(several)


def _is_vector(parameter: nn.Parameter) -> bool:
    return sum(size > 1 for size in parameter.shape) <= 1


def _has_base(module: nn.Module, name: re.Pattern[str]) -> bool:
    return any(name.search(base.__name__) for base in type(module).__mro__)
