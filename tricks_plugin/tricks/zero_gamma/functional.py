"""Finding and zeroing the last scale of residual branches."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ['last_norm', 'zero_last_scales']

_DEAD_AT_ZERO = (nn.ReLU, nn.ReLU6)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
# Attributes that are true where a block adds its input: torchvision's MobileNets and EfficientNets,
# and MNASNet; timm's; mmdet's inverted residuals, EfficientNet and CSP blocks.
_ADDS = ('use_res_connect', 'apply_residual', 'has_skip', 'with_res_shortcut', 'with_residual',
         'add_identity')
# Children of a block that are beside its branch, or gate its end.
_BESIDE = ('downsample', 'shortcut', 'se', 'attn', 'attn_last', 'attn2', 'attn3')


def last_norm(block: nn.Module) -> nn.Module | None:
    """The norm that ends a residual block's branch, right before the addition.

    A module counts as a residual block if it says so itself, by a flag (``has_skip``,
    ``use_res_connect``, ``add_identity``, ...) or by timm's ``zero_init_last``, or if it is built
    like the blocks of ResNet and its kin (``BasicBlock``, ``Bottleneck`` with a ``downsample``), of
    torchvision's RegNet (``f`` beside ``proj``) or of mmdet's Darknet (``ResBlock``). Its last norm
    is the one behind its last convolution.

    Args:
        block: Any module.

    Returns:
        The norm; None if the module is no such block, adds nothing to its input, ends in a
        convolution (pre-activation), or has a ReLU between norm and addition, whose gradient at
        zero is zero, so that the scale would stay.

    Example:
        >>> block = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), torch.nn.BatchNorm2d(8))
        >>> block.has_skip = True  # as timm's blocks say that they add their input
        >>> last_norm(block) is block[1], last_norm(block[0])
        (True, None)
    """
    names = {kind.__name__ for kind in type(block).__mro__}
    if hasattr(block, 'downsample') and names & {'BasicBlock', 'Bottleneck'}:
        for name in ('norm3', 'bn3', 'norm2', 'bn2'):
            if (found := getattr(block, name, None)) is not None:
                return found
        return _behind_last_weight(block) if _adds(block) else None
    if any(getattr(block, name, False) is True for name in _ADDS) or _is_timms(block):
        return _behind_last_weight(block)
    if hasattr(block, 'f') and hasattr(block, 'proj') \
            or 'ResBlock' in names and hasattr(block, 'conv2'):
        return _behind_last_weight(block)
    return None


def zero_last_scales(module: nn.Module) -> int:
    """Sets the last scale of every residual branch to zero, so that each block is the identity.

    Args:
        module: A network; changed in place. Only scales that train are set.

    Returns:
        How many scales were set: 0 for a network without blocks that `last_norm` knows.

    Example:
        >>> block = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 1), torch.nn.BatchNorm2d(2))
        >>> block.has_skip = True  # as timm's blocks say that they add their input
        >>> zero_last_scales(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), block))
        1
        >>> block[1].weight.tolist()
        [0.0, 0.0]

    Source: arXiv 1812.01187 section 3.1; arXiv 1706.02677 section 5.1.
    """
    norms = {norm for block in module.modules() if (norm := last_norm(block)) is not None}
    weights = [weight for norm in norms
               if isinstance(weight := getattr(norm, 'weight', None), torch.Tensor)
               and weight.requires_grad]
    for weight in weights:
        torch.nn.init.zeros_(weight)
    return len(weights)


def _is_timms(block: nn.Module) -> bool:
    """Whether timm itself would zero the end of a block's branch."""
    if callable(getattr(block, 'zero_init_last', None)):
        return True
    own: Any = getattr(block, 'init_weights', None)  # byobnet's
    return getattr(block, 'shortcut', None) is not None and callable(own) \
        and 'zero_init_last' in inspect.signature(own).parameters


def _adds(block: nn.Module) -> bool:
    """Whether a block with a ``downsample`` of None has a shape to which its input can be added.

    timm's RegNetZ has blocks without any shortcut where the shape changes.
    """
    if getattr(block, 'downsample', block) is not None:
        return True
    convs: list[Any] = [part for _, part in _parts(block) if hasattr(part, 'in_channels')]
    return bool(convs) and convs[0].in_channels == convs[-1].out_channels \
        and all(max(conv.stride) == 1 for conv in convs if isinstance(conv.stride, tuple))


def _behind_last_weight(block: nn.Module) -> nn.Module | None:
    """The norm after the last convolution or linear layer of a block, if its scale can grow.

    Children are registered in the order in which they run. An activation that is a block's own
    child runs after the addition.
    """
    norm = None
    for own, part in _parts(block):
        if isinstance(part, _NORMS):
            dead = isinstance(getattr(part, 'act', None), _DEAD_AT_ZERO)  # timm's BatchNormAct2d
            norm = None if dead else part
        elif any(parameter.ndim > 1 for parameter in part.parameters(recurse=False)) \
                or isinstance(part, _DEAD_AT_ZERO) and not own:
            norm = None
    return norm


def _parts(block: nn.Module) -> Iterator[tuple[bool, nn.Module]]:
    """The layers of a block's branch in order, and whether they are its own children."""
    for name, child in block.named_children():
        if name in _BESIDE:
            continue
        inner = [] if isinstance(child, _NORMS) or not any(True for _ in child.children()) else \
            list(_parts(child))
        if inner:
            yield from ((False, part) for _, part in inner)
        else:
            yield True, child
