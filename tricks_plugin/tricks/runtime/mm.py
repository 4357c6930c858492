"""The config edit that switches small options on, each where it has an effect."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ...mm.config_edit import (
    append_hook,
    default_scope,
    find,
    find_hooks,
    get,
    is_a,
    lookup_class,
    optim_wrappers,
    type_name,
    walk,
)
from ...plan import ConfigEdit, Verdict
from . import RuntimeParams
from . import device as machine
from .functional import fixed_size, needs_plain_layout

__all__ = ['Edit']

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_HOOK = 'tricks_plugin.RuntimeOptionsHook'
_HALF = ('AmpOptimWrapper', 'BFloat16OptimWrapper')
# On CPUs the layout was measured to help networks of depthwise convolutions (benchmarks/step.py).
_DEPTHWISE = ('MobileNetV2',)
_DEPTHWISE_OF_TIMM = re.compile('efficientnet|mobilenet')
# Parts whose options bring a compiled operation in, by name or by default.
_OPTION = re.compile('dcn|deform')
_COMPILED = ('CTResNetNeck',)
# They exchange the data set's transforms and restart persistent workers in their own way.
_SWITCHES = ('YOLOXModeSwitchHook', 'PipelineSwitchHook')


class Edit(ConfigEdit):
    """Goes through the options."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Goes through the options; each edits the config or says why not."""
        if not optim_wrappers(cfg) or not isinstance(cfg.get('train_dataloader'), dict):
            return Verdict.not_applicable('the config does not train')
        found: dict[str, list[str]] = {'applied': [], 'present': [], 'left': []}
        options: list[str] = []
        loaders: list[str] = []
        for field in dataclasses.fields(RuntimeParams):
            if not getattr(self.params, field.name):
                continue
            status, words = getattr(self, f'_{field.name}')(cfg, loaders)
            found[status].append(f'{field.name} ({words})')
            options += [field.name] if status != 'left' else []
        rest = f'left alone: {", ".join(found["left"])}' if found['left'] else ''
        promise: dict[str, Any] = {'options': options}
        if 'persistent_workers' in options:
            promise['loaders'] = loaders
        for status in ('applied', 'present'):
            if found[status]:
                reason = '; '.join(filter(None, [', '.join(found[status]), rest]))
                return Verdict(status, reason, promise)  # type: ignore[arg-type]
        return Verdict.not_applicable(rest or 'every option is switched off')

    def _cudnn_benchmark(self, cfg: dict[str, Any], loaders: list[str]) -> tuple[str, str]:
        env = cfg.get('env_cfg')
        if isinstance(env, dict) and env.get('cudnn_benchmark'):
            return 'present', 'the config has it'
        if not machine.capability():
            return 'left', 'this machine has no GPU'
        size = _batch_size(cfg)
        if not size:
            return 'left', 'the shapes of the batches vary, or are not known to be fixed'
        cfg['env_cfg'] = dict(env if isinstance(env, dict) else {}, cudnn_benchmark=True)
        return 'applied', f'every batch has {size[0]} x {size[1]} px'

    def _tf32(self, cfg: dict[str, Any], loaders: list[str]) -> tuple[str, str]:
        if _hook_of(cfg, 'tf32', True):
            return 'present', 'the hook is there'
        if machine.capability() < (8, 0):
            return 'left', 'this machine has no GPU of compute capability 8.0 or more'
        _hook_of(cfg, 'tf32')
        return 'applied', 'float32 products with 10 bits of fraction'

    def _channels_last(self, cfg: dict[str, Any], loaders: list[str]) -> tuple[str, str]:
        if _hook_of(cfg, 'channels_last', True):
            return 'present', 'the hook is there'
        scope, model = default_scope(cfg), cfg.get('model')
        if cfg.get('strategy') is not None:
            return 'left', 'cfg.strategy decides over the model itself'
        if cfg.get('launcher', 'none') not in (None, 'none'):
            return 'left', 'the buckets of DistributedDataParallel have the plain layout'
        obstacle = _plain_only(model, scope)
        if obstacle:
            return 'left', f'{obstacle} reads the plain layout only'
        half = all(is_a(wrapper, *_HALF, scope=scope) for _, wrapper in optim_wrappers(cfg))
        if machine.capability():
            if not half:
                return 'left', 'on a GPU it helps 16-bit training'
            why = '16-bit convolutions of GPUs compute in it'
        elif _depthwise(get(model, 'backbone'), scope):
            why = 'it helps depthwise convolutions on CPUs'
        else:
            return 'left', 'on CPUs it was measured to help depthwise convolutions only'
        _hook_of(cfg, 'channels_last')
        return 'applied', why

    def _persistent_workers(self, cfg: dict[str, Any], loaders: list[str]) -> tuple[str, str]:
        switch = next(find_hooks(cfg, *_SWITCHES), None)
        new, doubtful = [], ''
        for name in _LOADERS:
            loader = cfg.get(name)
            workers = loader.get('num_workers', 0) if isinstance(loader, dict) else 0
            if not isinstance(workers, int) or workers < 1:
                continue
            if not loader.get('persistent_workers'):  # type: ignore[union-attr]
                if switch and name == _LOADERS[0]:
                    doubtful = type_name(switch[1])
                    continue
                loader['persistent_workers'] = True  # type: ignore[index]
                new.append(name)
            loaders.append(name)
        note = f'; the training loader is left to {doubtful}' if doubtful else ''
        if new:
            return 'applied', f'workers of {", ".join(new)} stay{note}'
        if doubtful:
            return ('present' if loaders else 'left',
                    f'{doubtful} restarts the workers of train_dataloader itself')
        return ('present', 'the loaders have it') if loaders else ('left', 'no loader has workers')

    def _pin_memory(self, cfg: dict[str, Any], loaders: list[str]) -> tuple[str, str]:
        loader = cfg['train_dataloader']
        if loader.get('pin_memory'):
            return 'present', 'train_dataloader has it'
        if not machine.capability():
            return 'left', 'this machine has no GPU'
        loader['pin_memory'] = True
        return 'applied', 'copies to the GPU need no detour'


def _depthwise(backbone: Any, scope: str) -> bool:
    """Whether this is a network of depthwise convolutions whose steps were measured."""
    if is_a(backbone, 'TimmBackbone', scope=scope):
        return bool(_DEPTHWISE_OF_TIMM.search(str(get(backbone, 'model_name'))))
    return is_a(backbone, *_DEPTHWISE, scope=scope)


def _hook_of(cfg: dict[str, Any], option: str, only_look: bool = False) -> bool:
    """Whether the hook has an option; else adds it, with the hook if need be."""
    mine = next((hook for _, hook in find(cfg.get('custom_hooks'), type_name(_HOOK),
                                          scope=default_scope(cfg))), None)
    if only_look:
        return bool(mine and mine.get(option))
    if mine is None:
        append_hook(cfg, {'type': _HOOK, option: True})
    else:
        mine[option] = True
    return False


def _plain_only(model: Any, scope: str) -> str:
    """The first part of a model that cannot read channels-last maps."""
    for path, node in walk(model, 'model'):
        option = next((key for key, value in node.items()
                       if isinstance(key, str) and _OPTION.search(key) and value), None)
        if option:
            return f'{path}.{option}'
        kind = node.get('type')
        found = lookup_class(kind, scope) if isinstance(kind, str) else None
        if type_name(node) in _COMPILED or isinstance(found, type) and needs_plain_layout(found):
            return type_name(node)
    return ''


def _batch_size(cfg: dict[str, Any]) -> tuple[int, int] | None:
    """The one size (width, height) of every training batch, or None."""
    scope = default_scope(cfg)
    if any(_says(hook, 'varies_batch_size', scope) for hook in cfg.get('custom_hooks') or ()):
        return None
    pads = []
    for path, node in walk(get(cfg, 'model.data_preprocessor')):
        if 'batch_augments' in path and node.get('type'):
            if type_name(node) != 'BatchFixedSizePad':
                return None
            size = node.get('size')  # (height, width)
            pads.append(dict(type='Pad', size=tuple(size)[::-1] if isinstance(
                size, (list, tuple)) else None))
    return _dataset_size(get(cfg, 'train_dataloader.dataset'), pads, scope)


def _says(node: Any, what: str, scope: str) -> bool:
    """Whether a step or hook of this project says something of itself, by a class attribute."""
    kind = node.get('type') if isinstance(node, dict) else None
    found = kind
    if isinstance(kind, str):  # classes of others are not imported for this
        found = lookup_class(kind, scope) if kind.startswith('tricks_plugin.') else None
    return isinstance(found, type) and bool(getattr(found, what, False))


def _dataset_size(
    node: Any, then: list[dict[str, Any]], scope: str,
) -> tuple[int, int] | None:
    """The one size of a data set's images through its wrappers and some steps more, or None."""
    if not isinstance(node, dict):
        return None
    steps = node.get('pipeline')
    mine = isinstance(steps, (list, tuple)) and bool(steps)
    inner = node.get('datasets') if 'datasets' in node else [node.get('dataset')]
    sizes = {_dataset_size(one, [] if mine else then, scope) for one in inner} \
        if isinstance(inner, (list, tuple)) else {None}
    size = sizes.pop() if len(sizes) == 1 else None
    if not mine:
        return size
    return fixed_size([step for step in (*steps, *then)  # type: ignore[misc]
                       if not _says(step, 'keeps_image_size', scope)], size)
