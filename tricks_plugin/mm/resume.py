"""What a resumed run's checkpoint has put in the place of the config's settings."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper

from ..evidence import base_lr
from .config_edit import get, optim_wrappers, plain
from .schedules import scheduler_lists
from .training import RunnerTraining

__all__ = ['overruled']

_PROGRESS = ('last_step', '_global_step', 'base_values', 'verbose')


def overruled(runner: Any) -> list[str]:
    """The settings of optimizers and schedules that the run does not have from its config.

    mmengine loads both whole from the checkpoint, so what was changed in the config since is
    without effect.

    Args:
        runner: mmengine's runner, resumed.

    Returns:
        One clause per setting: where it stands, what the config asks for, what the run holds.
    """
    cfg = plain(runner.cfg)
    return [*_optimizers(RunnerTraining(runner), cfg), *_schedulers(runner, cfg)]


def _optimizers(training: RunnerTraining, cfg: dict[str, Any]) -> list[str]:
    words = []
    for path, wrapper in optim_wrappers(cfg):
        name = path.partition('.')[2]
        if name not in training.optimizers:
            continue
        groups = training.optimizers[name].param_groups
        for key, asked in wrapper['optimizer'].items():
            if key == 'lr':
                asked = training.asked_lr.get(name, asked) * _own_scaling(training, cfg)
                held = [base_lr(group) for group in groups]
            else:
                held = [group[key] for group in groups if key in group]
            if held and not any(_same(asked, one) for one in held):
                words.append(f'{path}.optimizer.{key} {_short([asked])} asked for, '
                             f'{_short(held)} held')
    return words


def _own_scaling(training: RunnerTraining, cfg: dict[str, Any]) -> float:
    """The factor of mmengine's own scaling, 1 where it is off."""
    base = get(cfg, 'auto_scale_lr.base_batch_size')
    images = get(cfg, 'train_dataloader.batch_size')
    if not get(cfg, 'auto_scale_lr.enable') or not base or not isinstance(images, int):
        return 1.0
    return images * training.world_size / base


def _schedulers(runner: Any, cfg: dict[str, Any]) -> list[str]:
    lists = scheduler_lists(cfg.get('param_scheduler'))
    if not lists or not hasattr(runner, '_build_param_scheduler'):
        return []
    built = runner.param_schedulers
    built = built if isinstance(built, dict) else {'': built or []}
    words = []
    for name, schedulers in built.items():
        nodes = lists.get(name, lists.get('', []))
        optimizers = RunnerTraining(runner).optimizers
        count = len(next(iter(optimizers.values())).param_groups) if name not in optimizers \
            else len(optimizers[name].param_groups)
        root = f'param_scheduler.{name}' if name in lists and name else 'param_scheduler'
        for index, (node, one) in enumerate(zip(nodes, schedulers, strict=False)):
            fresh = runner._build_param_scheduler(dict(node), _idle(count))[0].state_dict()
            held = one.state_dict()
            words += [f'{root}[{index}].{key.lstrip("_")} {_short([fresh[key]])} asked for, '
                      f'{_short([held[key]])} held' for key in fresh
                      if key in held and key not in _PROGRESS and not key.startswith('_')
                      and not _same(fresh[key], held[key])]
    return words


def _idle(count: int) -> OptimWrapper:
    """An optimizer that trains nothing, for a scheduler that is built to be looked at."""
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))]} for _ in range(count)]
    return OptimWrapper(torch.optim.SGD(groups, lr=1.0))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right) <= 1e-9 * max(abs(left), abs(right))
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right) or callable(left)


def _short(values: list[Any]) -> str:
    shown = list(dict.fromkeys(
        f'{value:g}' if isinstance(value, float) else
        ', '.join(map(str, sorted(value))) if hasattr(value, 'elements') else str(value)
        for value in values))
    return '/'.join(shown[:3]) + ('/...' if len(shown) > 3 else '')
