"""Plays a config's own schedulers on an optimizer without a model, and notes what they set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner

from ..common.processes import world_size
from ..common.rates import EpochLength, Rates
from ..plan.errors import TrickError
from .config_edit import copy_plain, default_scope, get, optim_wrappers, plain, run_length, walk
from .run_facts import loader_batches
from .schedules import driver, own_scaling, scheduler_lists, slow_groups

__all__ = ['epoch_length', 'needs_epoch_length', 'scheduled_rates', 'without_pipelines']

# Images with and without boxes of a file that zoo configs name and few machines have.
_KNOWN = {'instances_train2017.json': (117266, 118287)}


def needs_epoch_length(cfg: Any) -> bool:
    """Whether anything in a config's schedule counts epochs."""
    tree = plain(cfg)
    run = run_length(tree)
    lists = scheduler_lists(tree.get('param_scheduler')) or {}
    return run is None or run.by_epoch or any(
        item.get('convert_to_iter_based') for items in lists.values() for item in items)


def epoch_length(cfg: Any) -> EpochLength:
    """The iterations of an epoch: the training data are built without reading any image.

    Args:
        cfg: A Config.

    Raises:
        TrickError: If there is no ``train_dataloader``, or its data cannot be built and are not
            known here.
    """
    tree = plain(cfg)
    loader = tree.get('train_dataloader')
    if not isinstance(loader, dict) or not isinstance(loader.get('dataset'), dict):
        raise TrickError('the config has no train_dataloader with a dataset, so that the length '
                         'of an epoch is not known: give --iters-per-epoch N')
    node = without_pipelines(cfg)
    node.update(num_workers=0, persistent_workers=False)
    node.pop('prefetch_factor', None)
    init_default_scope(default_scope(tree))
    processes, size = world_size(tree.get('launcher')), loader.get('batch_size')
    if processes > 1:
        node.pop('num_batch_per_epoch', None)  # which would cut the data to one process's share
    try:
        built = Runner.build_dataloader(node, seed=0)
        images, steps = len(built.dataset), len(built)
    except Exception as error:  # a dataset is a program: building it may raise anything
        return _guessed(loader, processes, error)
    if processes > 1:
        if not isinstance(size, int):
            raise TrickError('train_dataloader has no batch_size, so that the epoch of several '
                             'processes is not known: give --iters-per-epoch N')
        steps = loader_batches(loader, len(built.sampler), size, processes)
    if not steps:
        raise TrickError(f'the training data have {images} images, which fill no batch')
    return EpochLength(steps, f'counted: {_share(images, size, processes)}', images)


def without_pipelines(cfg: Any) -> dict[str, Any]:
    """The training loader's config, whose datasets read no images; for equal data it is equal."""
    node = copy_plain(plain(cfg).get('train_dataloader') or {})
    for _, item in walk(node.get('dataset')):
        if isinstance(item.get('pipeline'), list):
            item['pipeline'] = []
    return node


def _share(images: int, size: Any, processes: int) -> str:
    words = f'{images} images in batches of {size}'
    return words if processes == 1 else f'{words} on {processes} processes'


def _guessed(loader: dict[str, Any], processes: int, error: Exception) -> EpochLength:
    """The epoch of a data set that is known by its file's name.

    Raises:
        TrickError: For any other.
    """
    files = [str(item['ann_file']) for _, item in walk(loader['dataset']) if item.get('ann_file')]
    name = files[0].rpartition('/')[2] if len(files) == 1 else ''
    size = loader.get('batch_size')
    if name not in _KNOWN or not isinstance(size, int) or not isinstance(error, FileNotFoundError):
        text = f'{type(error).__name__}: {" ".join(str(error).split())}'
        raise TrickError(f'the training data cannot be built ({text}), so that the length of an '
                         'epoch is not known: give --iters-per-epoch N') from error
    filtered = any(get(item, 'filter_cfg.filter_empty_gt') for _, item in walk(loader['dataset']))
    repeats = math.prod(item['times'] for _, item in walk(loader['dataset'])
                        if isinstance(item.get('times'), int))
    images = _KNOWN[name][0 if filtered else 1] * repeats
    return EpochLength(
        loader_batches(loader, images, size, processes),
        f'guessed: {name} is not here, and has {images // repeats} images; '
        f'{_share(images, size, processes)}', images)


def scheduled_rates(cfg: Any, label: str, epoch: EpochLength | None) -> list[Rates]:
    """What the config's schedulers set, for each optimizer.

    Args:
        cfg: A Config without ``tricks``.
        label: Of the curve; the optimizer's name is added where there are several.
        epoch: Its epoch's length; None where `needs_epoch_length` says no.

    Raises:
        TrickError: If nothing is trained, or an optimizer or a scheduler cannot be built.
    """
    tree = plain(cfg)
    wrappers, run = optim_wrappers(tree), run_length(tree)
    lists = scheduler_lists(tree.get('param_scheduler'))
    if not wrappers:
        raise TrickError(f'{label}: the config has no optim_wrapper with an optimizer')
    if run is None:
        raise TrickError(f'{label}: the config does not say how long it trains (train_cfg)')
    if lists is None:
        raise TrickError(f'{label}: param_scheduler has a form that is not known, got '
                         f'{type(tree["param_scheduler"]).__name__}')
    init_default_scope(default_scope(tree))
    length = epoch.steps if epoch is not None else run.value
    spans = [length] * run.value if run.by_epoch else [run.value]
    notes, idle = _notes(tree, lists)
    found = []
    for path, wrapper in wrappers:
        name = path.partition('.')[2]
        own = f'{label}, {name}' if name else label
        optimizer, groups, more = _optimizer(wrapper, tree, own)
        items = [] if idle else lists.get(name, lists.get('', []))
        ends = (len(spans) if run.by_epoch else 1, sum(spans))
        schedulers = [_scheduler(item, optimizer, ends, length, own) for item in items]
        lr, momentum = _play(optimizer, schedulers, spans)
        # A one-cycle schedule gives all groups one LR.
        kept = [index for index in range(len(groups))
                if not any((lr[:, index] == lr[:, before]).all() for before in range(index))]
        lr, groups = lr[:, kept], tuple(groups[index] for index in kept)
        found.append(Rates(own, lr, momentum, groups, 'iteration', epoch, (*notes, *more)))
    return found


def _notes(tree: dict[str, Any], lists: dict[str, list[Any]]) -> tuple[list[str], bool]:
    """What the curve does not know, and whether nothing steps the schedulers."""
    other, idle = driver(tree, idle=False), False
    notes = [f'{other}: drawn is what the schedulers would set'] if other else []
    if not other and driver(tree):
        notes, idle = [f'{driver(tree)}: the LR stays'], True
    items = [item for items in lists.values() for item in items]
    if not items:
        notes.append('no param_scheduler: the LR stays')
    if any('ReduceOnPlateau' in str(item['type']) for item in items):
        notes.append('ReduceOnPlateau follows a metric that only the training gives: drawn as if '
                     'it never fired')
    factor = own_scaling(tree)
    if factor != 1.0:
        notes.append(f"auto_scale_lr multiplies the optimizer's LR by {factor:g}")
    return notes, idle


def _optimizer(wrapper: dict[str, Any], tree: dict[str, Any], label: str,
               ) -> tuple[torch.optim.Optimizer, tuple[str, ...], list[str]]:
    """The config's optimizer over one weight for each LR that it names, and the LRs' names."""
    node, notes = wrapper['optimizer'], []
    slow: dict[float, str] = {}
    if isinstance(node.get('lr'), (int, float)):
        for path, lr in slow_groups(wrapper, tree).items():
            if lr > 0 and lr != node['lr']:
                slow.setdefault(lr, path)
    groups: list[dict[str, Any]] = [{'params': [_weight()]}]
    groups += [{'params': [_weight()], 'lr': lr} for lr in slow]
    if slow:
        notes.append('the LRs of paramwise_cfg are drawn as it is written: the model is not built, '
                     'so which parameters have them was not looked into')
    try:
        optimizer = OPTIMIZERS.build({**copy_plain(node), 'params': groups})
    except Exception as error:  # an optimizer is a program, and may ask for a real model
        if not isinstance(node.get('lr'), (int, float)):
            raise TrickError(f'{label}: cannot build the optimizer: {type(error).__name__}: '
                             f'{" ".join(str(error).split())}') from error
        optimizer = torch.optim.SGD(groups, lr=node['lr'])
        notes.append(f'{node.get("type")} cannot be built without the model: its LR is drawn')
    factor = own_scaling(tree)
    for group in optimizer.param_groups:
        group['lr'] = group['lr'] * factor
    return optimizer, ('', *slow.values()), notes


def _weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(1))


def _scheduler(item: dict[str, Any], optimizer: torch.optim.Optimizer, ends: tuple[int, int],
               length: int, label: str) -> Any:
    """A scheduler as mmengine's Runner builds it."""
    node = copy_plain(item)
    node.setdefault('end', ends[0] if node.get('by_epoch', True) else ends[1])
    try:
        return PARAM_SCHEDULERS.build(
            node, default_args=dict(optimizer=optimizer, epoch_length=length))
    except Exception as error:  # a scheduler is a program, and checks what it is given
        raise TrickError(f'{label}: cannot build param_scheduler {item["type"]}: '
                         f'{type(error).__name__}: {" ".join(str(error).split())}') from error


def _play(optimizer: torch.optim.Optimizer, schedulers: list[Any], spans: list[int],
          ) -> tuple[np.ndarray, np.ndarray]:
    """Steps the schedulers as mmengine's ParamSchedulerHook does.

    Args:
        optimizer: What they set.
        schedulers: In their order.
        spans: Iterations of each epoch.
    """
    total, groups = sum(spans), optimizer.param_groups
    lr, momentum = np.empty((total, len(groups))), np.empty(total)
    often = [one for one in schedulers if not one.by_epoch]
    optimizer.step()  # mmengine warns of schedulers that are stepped before it
    at = 0
    for span in spans:
        end = at + span
        while at < end:
            # Once the schedulers per iteration are over, the rest of the epoch is the same.
            rest = end if all(at + 1 >= one.end for one in often) else at + 1
            lr[at:rest] = [group['lr'] for group in groups]
            momentum[at:rest] = _momentum(groups[0])
            at = rest
            for one in often:
                one.step()
        for one in schedulers:
            if one.by_epoch:
                one.step()
    return lr, momentum


def _momentum(group: dict[str, Any]) -> float:
    value = group['betas'][0] if 'betas' in group else group.get('momentum')
    return math.nan if value is None else float(value)
