"""What a config says of an mmpretrain classifier: preprocessor, batch augments, losses."""

from __future__ import annotations

import dataclasses
from typing import Any

from .classes import argument_default, is_a, type_name
from .config_edit import default_scope, find_hooks, get, plain

__all__ = ['Augments', 'Preprocessor', 'augments', 'classifier', 'loss_of', 'num_classes',
           'preprocessor', 'switches', 'switching_hook']

CLASSIFIERS = ('ImageClassifier', 'TimmClassifier', 'HuggingFaceClassifier')


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """The data preprocessor that a model will be built with.

    Attributes:
        path: ``model.data_preprocessor``, or ``data_preprocessor`` at the config's top, which
            mmengine's runner gives to a model that has none.
        node: Its dict, which may lack a ``type``.
    """

    path: str
    node: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Augments:
    """The batch augments of a classifier, of which mmpretrain draws one for each batch.

    Attributes:
        path: The dict that holds ``augments`` and ``probs``.
        owner: The dict that has it under `key`.
        key: ``train_cfg`` or ``batch_augments``.
        items: The augments.
        probs: The probability of each.
    """

    path: str
    owner: dict[str, Any]
    key: str
    items: tuple[dict[str, Any], ...]
    probs: tuple[float, ...]


def classifier(cfg: dict[str, Any]) -> dict[str, Any] | None:
    """The model of a config, if it is a classifier of mmpretrain; by name where that is missing.

    Args:
        cfg: A plain config.
    """
    model = cfg.get('model')
    return model if isinstance(model, dict) and type_name(model) and \
        is_a(model, *CLASSIFIERS, scope=default_scope(cfg)) else None


def preprocessor(cfg: dict[str, Any]) -> Preprocessor | None:
    """The data preprocessor that the model of a config gets, or None if none is written."""
    for path in ('model.data_preprocessor', 'data_preprocessor'):
        node = get(cfg, path)
        if isinstance(node, dict):
            return Preprocessor(path, node)
    return None


def num_classes(cfg: dict[str, Any]) -> int | None:
    """The number of classes that the head, the model or the preprocessor of a classifier names."""
    found = preprocessor(cfg)
    for node in (get(cfg, 'model.head'), cfg.get('model'), found and found.node):
        count = node.get('num_classes') if isinstance(node, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None


def augments(cfg: dict[str, Any]) -> Augments | str | None:
    """The batch augments in force: None if there are none, a sentence if their form is not known.

    An ImageClassifier takes ``train_cfg`` where its preprocessor has no ``batch_augments``; the
    classifiers of timm and of Hugging Face prefer ``train_cfg``.
    """
    model, found = cfg['model'], preprocessor(cfg)
    places: list[tuple[str, dict[str, Any], str]] = [('model', model, 'train_cfg')]
    if found is not None and 'batch_augments' in found.node:
        own = (found.path, found.node, 'batch_augments')
        places = [own] if is_a(model, CLASSIFIERS[0], scope=default_scope(cfg)) else [*places, own]
    for path, owner, key in places:
        held = owner.get(key)
        if held and (key != 'train_cfg' or 'augments' in held):
            return _read(f'{path}.{key}', owner, key, held)
    return None


def _read(path: str, owner: dict[str, Any], key: str, held: Any) -> Augments | str:
    items = held.get('augments') if isinstance(held, dict) else None
    items = [items] if isinstance(items, dict) else items
    probs = held.get('probs') if isinstance(held, dict) else None
    if not isinstance(items, (list, tuple)) or not items or \
            not all(isinstance(item, dict) and item.get('type') for item in items):
        return f'{path} has a form that is not known'
    probs = [probs] if isinstance(probs, (int, float)) else probs
    if probs is None:
        probs = [1 / len(items)] * len(items)
    if not isinstance(probs, (list, tuple)) or len(probs) != len(items):
        return f'{path}.probs does not fit its augments'
    return Augments(path, owner, key, tuple(items), tuple(float(one) for one in probs))


def switching_hook(cfg: dict[str, Any], key: str) -> tuple[str, int, Any] | None:
    """Where mmpretrain's SwitchRecipeHook first exchanges a part of the recipe, or None.

    Args:
        cfg: A plain config.
        key: ``batch_augments``, ``train_pipeline`` or ``loss``.

    Returns:
        The hook's path, the epoch of the switch, counted from 0, and what is put in.
    """
    return next(iter(switches(cfg, key)), None)


def switches(cfg: dict[str, Any], key: str) -> list[tuple[str, int, Any]]:
    """All exchanges of one part by mmpretrain's SwitchRecipeHook, by epoch; see `switching_hook`.

    Args:
        cfg: A plain config.
        key: The part.
    """
    found = []
    for path, hook in find_hooks(cfg, 'SwitchRecipeHook'):
        schedule = hook.get('schedule')
        found += [(path, one['action_epoch'] - 1, one[key]) for one in (
            schedule if isinstance(schedule, (list, tuple)) else ())
            if isinstance(one, dict) and key in one and isinstance(one.get('action_epoch'), int)]
    return sorted(found, key=lambda one: one[1])


def loss_of(owner: dict[str, Any], scope: str) -> dict[str, Any] | None:
    """The ``loss`` of a classification head: as written, or its class's default; None if neither.

    Args:
        owner: The dict of a head, or of a model that has the loss itself.
        scope: The registry scope of unscoped types.
    """
    loss = owner.get('loss')
    if loss is None and 'loss' not in owner:
        loss = argument_default(owner, 'loss', scope)
    return plain(loss) if isinstance(loss, dict) else None
