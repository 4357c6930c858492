"""What timm finds out by itself where its flags say nothing, known before anything is built."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

__all__ = ['ModelFacts', 'facts', 'fixed_input_size', 'model_arguments',
           'model_facts', 'total_epochs']

_CLASSES = 1000
_SIZE = 224


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What a model without weights tells.

    Attributes:
        num_classes: Its outputs.
        batch_norms: How many BatchNorm layers it has.
        zero_scales: How many norm scales its initialisation sets to zero.
    """

    num_classes: int
    batch_norms: int
    zero_scales: int


def facts(args: Mapping[str, Any]) -> dict[str, Any]:
    """The values that timm puts in place of None.

    Args:
        args: timm's settings by name (underscores).

    Returns:
        ``num_classes``, ``input_size`` (channels, height, width), ``img_size`` where it is square,
        and ``device``; only those that the settings leave None.
    """
    found: dict[str, Any] = {'device': _device()}
    name = args.get('model')
    if args.get('num_classes') is None:
        known = model_facts(args)
        found['num_classes'] = known.num_classes if known else \
            _pretrained_cfg(name).get('num_classes') or _CLASSES
    size = args.get('input_size')
    if size is None:
        side = args.get('img_size')
        own = (None, side, side) if side is not None else \
            _pretrained_cfg(name).get('input_size') or (None, _SIZE, _SIZE)
        size = found['input_size'] = [args.get('in_chans') or own[0] or 3, *own[1:]]
    if size[-1] == size[-2]:
        found['img_size'] = size[-1]
    return {key: value for key, value in found.items() if args.get(key) is None}


def model_facts(args: Mapping[str, Any]) -> ModelFacts | None:
    """Builds the model of the settings on the meta device, without memory, and looks at it.

    Returns:
        None where timm cannot build it so: an unknown name, arguments that do not fit, or a model
        whose architecture would have to be downloaded.
    """
    name = args.get('model')
    if not isinstance(name, str) or ':' in name:
        return None
    return _built(name, args.get('num_classes'), repr(dict(args.get('model_kwargs') or {})))


@functools.lru_cache(maxsize=16)
def _built(name: str, num_classes: int | None, model_kwargs: str) -> ModelFacts | None:
    import timm
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.overrides import TorchFunctionMode

    class Fills(TorchFunctionMode):
        """Remembers which parameters were last filled with zeros; meta tensors have no values."""

        zero: dict[int, bool] = {}

        def __torch_function__(self, func: Any, types: Any, args: Any = (),
                               kwargs: Any = None) -> Any:
            kind = getattr(func, '__name__', '')
            if kind in ('zero_', 'fill_') and args and isinstance(args[0], torch.nn.Parameter):
                value = 0 if kind == 'zero_' else (args[1:] or [*(kwargs or {}).values()])[0]
                self.zero[id(args[0])] = value == 0
            return func(*args, **(kwargs or {}))

    fills = Fills()
    fills.zero = {}
    try:
        with torch.device('meta'), fills:
            model = timm.create_model(name, num_classes=num_classes,
                                      **ast.literal_eval(model_kwargs))
    except Exception:  # whatever a model's constructor raises, the run will raise and explain
        return None
    scales = [parameter for key, parameter in model.named_parameters()
              if key.endswith('weight') and parameter.ndim == 1]
    return ModelFacts(
        getattr(model, 'num_classes', None) or _CLASSES,
        sum(isinstance(module, _BatchNorm) for module in model.modules()),
        sum(fills.zero.get(id(parameter), False) for parameter in scales))


def model_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What timm's script gives ``create_model``, but for weights, beside ``model_kwargs``."""
    return dict(
        model_name=args.model, num_classes=args.num_classes,
        in_chans=args.in_chans or (args.input_size[0] if args.input_size else 3),
        drop_rate=args.drop, drop_path_rate=args.drop_path, drop_block_rate=args.drop_block,
        global_pool=args.gp, bn_momentum=args.bn_momentum, bn_eps=args.bn_eps,
        scriptable=args.torchscript)


def fixed_input_size(args: Mapping[str, Any]) -> bool:
    """Whether a model takes images of one size only, as plain vision transformers do."""
    options = args.get('model_kwargs') or {}
    if options.get('dynamic_img_size') or options.get('strict_img_size') is False:
        return False
    return bool(_pretrained_cfg(args.get('model')).get('fixed_input_size'))


def total_epochs(args: Mapping[str, Any]) -> int:
    """The epochs of a run: with a warm-up in front, cycles and cooldown, as timm counts them."""
    import torch
    from timm.scheduler import create_scheduler_v2
    from timm.scheduler.scheduler_factory import scheduler_kwargs
    settings = scheduler_kwargs(argparse.Namespace(**args))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    try:
        return int(create_scheduler_v2(optimizer, **settings, updates_per_epoch=1)[1])
    except (ArithmeticError, AssertionError, TypeError, ValueError):  # the run will say why
        return int(args['epochs'])


def _device() -> str:
    import torch
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def _pretrained_cfg(name: Any) -> dict[str, Any]:
    """Timm's record of a model: sizes and classes; empty for a model it does not know."""
    import timm
    try:
        cfg = timm.get_pretrained_cfg(name)
    except (AttributeError, RuntimeError, TypeError):
        return {}
    return cfg.to_dict() if cfg else {}
