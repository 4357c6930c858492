"""Which weights a run loads before it trains, and into which part of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from .classes import type_name
from .config_edit import walk

__all__ = ['Weights', 'backbone_weights', 'initial_checkpoint', 'initial_items',
           'loads', 'weights']


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights that a setting of a config names.

    Attributes:
        part: What they are loaded into: ``model``, ``model.backbone``.
        key: The setting: ``load_from``, or that part's ``init_cfg``, ``pretrained``,
            ``checkpoint`` or ``weights``.
        source: The file, URL or name; empty where the setting names none.
    """

    part: str
    key: str
    source: str = ''

    @property
    def path(self) -> str:
        """The setting's place in the config."""
        return self.key if self.key == 'load_from' else f'{self.part}.{self.key}'

    @property
    def whole(self) -> bool:
        """Whether they are a whole model's; ``model.pretrained`` is mostly its backbone's."""
        return self.key == 'load_from' or self.key == 'init_cfg' and \
            self.part.rpartition('.')[2] in ('model', 'detector')


def weights(cfg: dict[str, Any]) -> Iterator[Weights]:
    """Every setting by which a config loads weights, those of whole models before their parts'.

    A teacher's, which is not trained, are left out.

    Args:
        cfg: A plain config.
    """
    if cfg.get('load_from'):
        yield Weights('model', 'load_from', _text(cfg['load_from']))
    for path, node in walk(cfg.get('model'), 'model'):
        part = path.rpartition('.')[2]
        if 'teacher' in path:
            continue
        if loads(node.get('init_cfg')):
            yield Weights(path, 'init_cfg', initial_checkpoint(node['init_cfg']))
        # mmdet 2's key, mmpretrain's and timm's, TimmBackbone's file, and detectron2's
        if part in ('model', 'backbone') and node.get('pretrained'):
            yield Weights(path, 'pretrained', _text(node['pretrained']))
        if part == 'backbone' and isinstance(node.get('checkpoint'), str):
            yield Weights(path, 'checkpoint', node['checkpoint'])
        if isinstance(node.get('weights'), str):
            yield Weights(path, 'weights', node['weights'])


def backbone_weights(cfg: dict[str, Any]) -> list[Weights]:
    """The settings whose weights ``model.backbone`` starts from, in the order of `weights`."""
    return [one for one in weights(cfg) if one.part in ('model', 'model.backbone')]


def loads(init: Any) -> bool:
    """Whether an ``init_cfg``, of a config or of a built module, loads weights."""
    return any(type_name(one) in ('Pretrained', 'PretrainedInit') or bool(one.get('checkpoint'))
               for one in initial_items(init))


def initial_checkpoint(init: Any) -> str:
    """The first file, URL or name that an ``init_cfg`` loads; empty if there is none."""
    return next((_text(one['checkpoint']) for one in initial_items(init) if one.get('checkpoint')),
                '')


def initial_items(init: Any) -> list[dict[str, Any]]:
    """The initialisations that an ``init_cfg`` lists, or the one that it is."""
    return [one for one in (init if isinstance(init, (list, tuple)) else [init])
            if isinstance(one, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ''
