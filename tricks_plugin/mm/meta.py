"""Parts of a model built from a config without weights or memory, to be asked what they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .classes import type_name

__all__ = ['built_on_meta']

_KEPT = 4
_latest: dict[tuple[str, str], nn.Module] = {}


class _NoMemory(TorchFunctionMode):
    """Makes what parameters are filled from on the meta device; numbers to read stay real.

    Under ``torch.device('meta')`` a constructor could not read its drop path rates.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn):
            kwargs.setdefault('device', 'meta')
        return func(*args, **kwargs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither what constructors print nor what they log belongs to a plan."""
    import io
    import logging
    import warnings
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def built_on_meta(node: Any, scope: str) -> nn.Module | None:
    """A part of a model on the meta device, in evaluation mode; None where it cannot be built.

    Several tricks ask of the same part, so the latest few are kept: do not change what you get.

    Args:
        node: Its dict in a plain config, or a list of such dicts. Not changed.
        scope: The registry scope of unscoped types.
    """
    from mmengine.config import ConfigDict
    from mmengine.registry import MODELS, DefaultScope
    if isinstance(node, (list, tuple)):
        parts = [built_on_meta(one, scope) for one in node]
        found = [part for part in parts if part is not None]
        return nn.ModuleList(found) if len(found) == len(parts) else None
    if not isinstance(node, dict) or not isinstance(node.get('type'), str):
        return None
    known = (repr(node), scope)
    if known in _latest:
        return _latest[known]
    plain = {key: False if key == 'pretrained' else value for key, value in node.items()
             if key != 'init_cfg'}
    if type_name(node) != 'TIMMBackbone' and not plain.get('pretrained', True):
        del plain['pretrained']
    try:
        with _quiet(), _NoMemory(), DefaultScope.overwrite_default_scope(scope):
            built = MODELS.build(ConfigDict(plain)).to('meta')
        built.eval()  # which returns nothing in many backbones
    except Exception:  # a user's class may need what a plan cannot give it
        return None
    while len(_latest) >= _KEPT:
        del _latest[next(iter(_latest))]
    _latest[known] = built
    return built
