"""Reading the learning-rate schedules of a plain config, and what else sets the rate."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

from ..common.processes import world_size
from .config_edit import (
    RunLength,
    default_scope,
    get,
    is_a,
    lookup_class,
    optim_wrappers,
    run_length,
    type_name,
)

__all__ = ['AbsoluteRate', 'absolute_rates', 'driver', 'is_constant_warmup', 'is_lr', 'is_warmup',
           'own_scaling', 'schedulable', 'scheduler_lists', 'slow_groups']

_RAMPS = ('LinearLR', 'LinearParamScheduler', 'QuadraticWarmupLR', 'QuadraticWarmupParamScheduler')
_HOLDS = ('ConstantLR', 'ConstantParamScheduler')
_STEPPER = 'ParamSchedulerHook'
_MOMENTS = ('before_train', 'before_train_epoch', 'before_train_iter', 'after_train_iter',
            'after_train_epoch')
_RATE = re.compile(r'eta_(min|max)|(min|max)_value|([a-z]+_)?lr')
_SETS_RATE = re.compile(r"""\[\s*['"]lr['"]\s*\]\s*([-+*/]=|=(?!=))""")
_RATE_NAME = re.compile(r'(LR|Lr|LearningRate|ParamScheduler)(?!.*(Monitor|Log|Print|Record))')


def scheduler_lists(node: Any) -> dict[str, list[Any]] | None:
    """The schedulers per optimizer name ('' for all), or None if the form is not known."""
    if node is None:
        return {'': []}
    if isinstance(node, dict) and node and 'type' not in node:
        lists = {name: _as_list(item) for name, item in node.items()}
        return None if None in lists.values() else lists  # type: ignore[return-value]
    items = _as_list(node)
    return None if items is None else {'': items}


def _as_list(node: Any) -> list[Any] | None:
    items = list(node) if isinstance(node, (list, tuple)) else [] if node == {} else [node]
    return items if all(isinstance(item, dict) and 'type' in item for item in items) else None


def is_lr(node: dict[str, Any], scope: str) -> bool:
    """Whether a scheduler sets the learning rate."""
    return (node.get('param_name') == 'lr' or type_name(node).endswith('LR')
            or is_a(node, 'LRSchedulerMixin', scope=scope))


def is_warmup(node: dict[str, Any], scope: str) -> bool:
    """Whether an LR scheduler ramps up from the first step on."""
    if not is_lr(node, scope) or not is_a(node, *_RAMPS, scope=scope) or node.get('begin', 0):
        return False
    start, end = node.get('start_factor', 1 / 3), node.get('end_factor', 1.0)
    numbers = all(isinstance(value, (int, float)) for value in (start, end))
    return numbers and start < end


def is_constant_warmup(node: dict[str, Any], scope: str) -> bool:
    """Whether an LR scheduler holds a smaller LR from the first step on, for a while."""
    factor = node.get('factor', 1 / 3)
    return (is_lr(node, scope) and is_a(node, *_HOLDS, scope=scope) and not node.get('begin', 0)
            and isinstance(factor, (int, float)) and factor < 1)


class AbsoluteRate:
    """A learning rate in a schedule that is a number of its own, no multiple of the optimizer's.

    Attributes:
        path: Where it stands in the config.
        values: It, or one per parameter group.
    """

    def __init__(self, path: str, owner: dict[str, Any], key: str) -> None:
        self.path, self._owner, self._key = path, owner, key

    @property
    def values(self) -> list[float]:
        """The rates."""
        value = self._owner[self._key]
        return list(value) if isinstance(value, (list, tuple)) else [value]

    def scale(self, factor: float) -> None:
        """Multiplies the rate, in the config."""
        value = self._owner[self._key]
        self._owner[self._key] = type(value)(one * factor for one in value) \
            if isinstance(value, (list, tuple)) else value * factor


def absolute_rates(cfg: dict[str, Any]) -> Iterator[AbsoluteRate]:
    """Every absolute rate above 0 in the config's LR schedulers, also of their optimizers' own."""
    root, scope = cfg.get('param_scheduler'), default_scope(cfg)
    nodes: list[tuple[str, Any]] = [('param_scheduler', root)]
    while nodes:
        path, node = nodes.pop(0)
        if isinstance(node, dict) and 'type' in node:
            if is_lr(node, scope):
                yield from _rates(path, node, scope)
        elif isinstance(node, dict):
            nodes += [(f'{path}.{key}', item) for key, item in node.items()]
        elif isinstance(node, (list, tuple)):
            nodes += [(f'{path}[{index}]', item) for index, item in enumerate(node)]


def _rates(path: str, node: dict[str, Any], scope: str) -> Iterator[AbsoluteRate]:
    plateau = is_a(node, 'ReduceOnPlateauLR', 'ReduceOnPlateauParamScheduler', scope=scope)
    for key, value in node.items():
        if not _RATE.fullmatch(key) and not (plateau and key == 'eps'):
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool)
                      for one in values)
        if numbers and any(one > 0 for one in values):
            yield AbsoluteRate(f'{path}.{key}', node, key)


def own_scaling(cfg: dict[str, Any]) -> float:
    """What mmengine multiplies every group's LR by; 1 where it is not to scale by itself.

    It leaves the rates of the schedules as they are.

    Args:
        cfg: The whole config.
    """
    images, base = (get(cfg, key) for key in ('train_dataloader.batch_size',
                                              'auto_scale_lr.base_batch_size'))
    enabled = get(cfg, 'auto_scale_lr.enable')
    if not enabled or not isinstance(images, int) or not base:
        return 1.0
    return images * world_size(cfg.get('launcher')) / base


def slow_groups(wrapper: dict[str, Any], cfg: dict[str, Any]) -> dict[str, float]:
    """The LR of parameter groups that ``paramwise_cfg`` gives one of their own, by setting.

    Args:
        wrapper: An optimizer wrapper whose optimizer has an ``lr``.
        cfg: The whole config.
    """
    lr, paramwise = wrapper['optimizer']['lr'], wrapper.get('paramwise_cfg')
    if not isinstance(paramwise, dict):
        return {}
    found: dict[str, Any] = {}
    keys = paramwise.get('custom_keys')
    for name, item in (keys.items() if isinstance(keys, dict) else ()):
        if isinstance(item, dict) and ('lr' in item or 'lr_mult' in item):
            path = f'paramwise_cfg.custom_keys.{name}'
            found[path] = item['lr'] if 'lr' in item else _times(lr, item['lr_mult'])
    for name, factor in paramwise.items():
        if name.endswith('lr_mult') and ('dcn' not in name or 'dcn' in str(cfg.get('model'))):
            found[f'paramwise_cfg.{name}'] = _times(lr, factor)
    rate, layers = paramwise.get('decay_rate'), paramwise.get('num_layers')
    if isinstance(rate, (int, float)) and isinstance(layers, int) and \
            'DecayOptim' in type_name(wrapper.get('constructor', '')):
        found[f'paramwise_cfg.decay_rate over {layers} layers'] = lr * rate ** (layers + 1)
    return {path: value for path, value in found.items() if isinstance(value, (int, float))}


def _times(lr: Any, factor: Any) -> Any:
    return lr * factor if isinstance(factor, (int, float)) else None


def driver(cfg: dict[str, Any], idle: bool = True) -> str:
    """What sets the learning rate in the place of mmengine's schedules, in a clause; or nothing.

    A hook is known by its class: one of ParamSchedulerHook's with methods of its own, or, among
    the custom hooks, one whose source sets ``lr`` of the parameter groups.

    Args:
        cfg: The whole config.
        idle: Whether to say as well that nothing steps a schedule.
    """
    scope, default = default_scope(cfg), cfg.get('default_hooks')
    default = default if isinstance(default, dict) else {}
    custom = cfg.get('custom_hooks') or []
    custom = custom if isinstance(custom, (list, tuple)) else [custom]
    hooks = [(f'default_hooks.{name}', node) for name, node in default.items()]
    hooks += [(f'custom_hooks[{index}]', node) for index, node in enumerate(custom)]
    steps = 'param_scheduler' not in default
    for path, node in hooks:
        if node is None:
            continue
        found = _class_of(node, scope)
        name = found.__name__ if inspect.isclass(found) else type_name(node)
        if _steps(name, found):
            steps = True
        elif path == 'default_hooks.param_scheduler':
            unknown = '' if inspect.isclass(found) else ', a class that could not be looked into,'
            return f'{path} is {name}{unknown} in the place of {_STEPPER}, and has the learning ' \
                'rate in its hands'
        elif words := _sets_rate(name, found):
            return f'{path} is {name}, which {words}'
    if not steps and idle:
        return 'default_hooks.param_scheduler is None, so that nothing would step a schedule'
    return ''


def _class_of(node: Any, scope: str) -> Any:
    kind = get(node, 'type') if isinstance(node, dict) else type(node)
    return lookup_class(kind, scope) if isinstance(kind, str) else kind


def _steps(name: str, found: Any) -> bool:
    """Whether a hook is mmengine's, or one of its kind that changes none of its moments."""
    if not inspect.isclass(found):
        return name == _STEPPER
    line = [base.__name__ for base in inspect.getmro(found)]
    if _STEPPER not in line:
        return False
    own = inspect.getmro(found)[:line.index(_STEPPER)]
    return not any(moment in vars(base) for base in own for moment in _MOMENTS)


@functools.lru_cache(maxsize=256)  # reading sources is a third of a plan's time
def _sets_rate(name: str, found: Any) -> str:
    """How it is known that a custom hook sets the learning rate; empty if it is not."""
    if not inspect.isclass(found):
        return 'sets the learning rate by its name; its class could not be looked into' \
            if _RATE_NAME.search(name) else ''
    bases = [base for base in inspect.getmro(found)
             if not base.__module__.startswith(('mmengine.', 'builtins', 'tricks_plugin.'))]
    if _STEPPER in [base.__name__ for base in inspect.getmro(found)]:
        return f'is a {_STEPPER} of its own and sets the learning rate'
    for base in bases:
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            if _RATE_NAME.search(name):
                return 'sets the learning rate by its name; its source could not be looked into'
            continue
        if 'param_groups' in source and _SETS_RATE.search(source):
            return 'sets the learning rate of the parameter groups itself'
    return ''


def schedulable(cfg: dict[str, Any]) -> tuple[RunLength, dict[str, list[Any]]] | str:
    """The run's length and its schedulers by optimizer, or why no schedule can be set here.

    Args:
        cfg: A plain config.
    """
    if not optim_wrappers(cfg):
        return 'the config has no optimizer whose LR could be scheduled'
    run = run_length(cfg)
    if run is None:
        return 'the config does not say how long it trains'
    lists = scheduler_lists(cfg.get('param_scheduler'))
    if lists is None:
        return 'param_scheduler has a form that is not known'
    return driver(cfg) or (run, lists)
