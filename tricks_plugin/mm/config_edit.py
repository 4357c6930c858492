"""Finding and editing parts of a config: by class, through wrappers.

Everything here works on a *plain* config: nested dicts, lists, tuples and values, where every
class or lazy object has become the string that mmengine's registries resolve to it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from .classes import import_path, is_a, lookup_class, not_seen, type_name

__all__ = [
    'Pipeline', 'RunLength', 'append_hook', 'copy_plain', 'default_scope', 'find', 'find_hooks',
    'get', 'is_a', 'lookup_class', 'no_pipeline', 'not_seen', 'old_form', 'optim_wrappers',
    'plain', 'run_length', 'train_pipelines', 'type_name', 'walk',
]


def plain(value: Any) -> Any:
    """A config as plain dicts, lists, tuples and values that share nothing with the input.

    Classes, functions and mmengine's lazy objects become the dotted path they are imported by,
    as in the files that mmengine dumps. Objects that cannot be named so stay as they are; of a
    Config, the modules and functions that its file keeps for its own use are left out.

    Args:
        value: A Config, ConfigDict, dict, or any value of one.
    """
    if hasattr(value, '_cfg_dict'):
        settings = plain(value.to_dict())
        return {key: item for key, item in settings.items()
                if not (inspect.ismodule(item) or inspect.isroutine(item))}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in dict.items(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if type(value).__name__ in ('LazyObject', 'LazyAttr') and hasattr(value, 'build'):
        return f'{value.module}.{value}'
    if inspect.isclass(value) or inspect.isroutine(value):
        return import_path(value) or value
    return value


def copy_plain(value: Any) -> Any:
    """A copy of a plain config in which no two places share a dict or list."""
    if isinstance(value, dict):
        return {key: copy_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copy_plain(item) for item in value)
    return value


def get(cfg: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path; the default where any part of the path is missing."""
    node = cfg
    for key in path.split('.'):
        if not isinstance(node, dict) or key not in node:
            return default
        node = node[key]
    return node


def old_form(cfg: dict[str, Any]) -> str:
    """A clause that says so where a config is written for mmdet 2.x; empty for others."""
    if any(key in cfg for key in ('optim_wrapper', 'train_dataloader', 'param_scheduler')):
        return ''
    keys = [key for key in ('optimizer', 'lr_config', 'runner', 'data') if key in cfg]
    return '' if len(keys) < 2 else (
        f'this is a config of mmdet 2.x ({", ".join(keys)} at the top), whose sections mmengine '
        'does not read; write optim_wrapper, param_scheduler, train_cfg and train_dataloader')


def append_hook(cfg: dict[str, Any], *hooks: dict[str, Any]) -> None:
    """Appends custom hooks to a config, in place; a section that is no list becomes one."""
    own = cfg.get('custom_hooks') or []
    cfg['custom_hooks'] = [*(own if isinstance(own, (list, tuple)) else [own]), *hooks]


def default_scope(cfg: dict[str, Any]) -> str:
    """The registry scope of unscoped names: the config's own, or mmdet."""
    scope = cfg.get('default_scope')
    return scope if isinstance(scope, str) and scope else 'mmdet'


def walk(node: Any, path: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict below a node, itself included, with its path, parents first.

    Yields:
        ``(path, dict)``, where the path reads like ``model.roi_head.bbox_head[0]``.
    """
    if isinstance(node, dict):
        yield path, node
        for key, item in node.items():
            yield from walk(item, f'{path}.{key}' if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from walk(item, f'{path}[{index}]')


def find(node: Any, *names: str, path: str = '', scope: str = 'mmdet',
         ) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict below a node whose class is, or derives from, one of the named classes."""
    for where, item in walk(node, path):
        if isinstance(item.get('type'), str) and is_a(item, *names, scope=scope):
            yield where, item


def find_hooks(cfg: dict[str, Any], *names: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every hook of a config, custom or default, whose class is or derives from one of these."""
    for section in ('custom_hooks', 'default_hooks'):
        yield from find(cfg.get(section), *names, path=section, scope=default_scope(cfg))


@dataclasses.dataclass
class Pipeline:
    """A training pipeline and where it stands.

    Attributes:
        path: Such as ``train_dataloader.dataset.pipeline``.
        owner: The dataset (or wrapper) dict that holds it.
    """

    path: str
    owner: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The transforms. Assign a new list to edit."""
        return self.owner['pipeline']

    @steps.setter
    def steps(self, steps: list[dict[str, Any]]) -> None:
        self.owner['pipeline'] = steps


def train_pipelines(cfg: dict[str, Any]) -> list[Pipeline]:
    """Every pipeline of the training dataset, through any nesting of dataset wrappers."""
    root = 'train_dataloader.dataset'
    return [
        Pipeline(f'{path}.pipeline', node)
        for path, node in walk(get(cfg, root), root)
        if isinstance(node.get('pipeline'), list)
    ]


def no_pipeline(cfg: dict[str, Any]) -> str:
    """Why `train_pipelines` finds none, in one clause."""
    kind = type_name(get(cfg, 'train_dataloader.dataset'))
    return f'train_dataloader.dataset is {kind}, which shows no list named pipeline' if kind else \
        'the config has no training pipeline'


def optim_wrappers(cfg: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every optimizer wrapper that names an optimizer, with its path.

    One for a config with a single optimizer; one per name where ``optim_wrapper`` holds several
    under their names beside a ``constructor``.
    """
    root = cfg.get('optim_wrapper')
    if not isinstance(root, dict):
        return []
    if isinstance(root.get('optimizer'), dict):
        return [('optim_wrapper', root)]
    return [
        (f'optim_wrapper.{name}', item) for name, item in root.items()
        if isinstance(item, dict) and isinstance(item.get('optimizer'), dict)
    ]


@dataclasses.dataclass(frozen=True)
class RunLength:
    """How long a config trains.

    Attributes:
        value: Epochs or iterations.
        by_epoch: Which of the two.
    """

    value: int
    by_epoch: bool


def run_length(cfg: dict[str, Any]) -> RunLength | None:
    """The length of training, or None where the config does not train or does not say."""
    loop = cfg.get('train_cfg')
    if not isinstance(loop, dict):
        return None
    scope = default_scope(cfg)
    by_epoch = loop.get('by_epoch')
    if 'type' in loop:
        by_epoch = not is_a(loop, 'IterBasedTrainLoop', scope=scope)
    elif by_epoch is None:
        by_epoch = 'max_iters' not in loop
    value = loop.get('max_epochs' if by_epoch else 'max_iters')
    if not isinstance(value, (int, float)) or not 0 < value < float('inf'):
        return None
    return RunLength(int(value), bool(by_epoch))
