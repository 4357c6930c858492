"""Makes a config of the zoo small enough for one step on a CPU, without pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from zoo_data import Folder

from tricks_plugin.mm.config_edit import get, optim_wrappers, plain, type_name, walk

LONGEST = 320  # px, of an image at the model's input; a quarter more stays as it is
SIZES = ('scale', 'scales', 'img_scale', 'crop_size', 'size', 'resize_scale', 'random_size_range',
         'img_shape')
# What a limit of a resize says that is never reached (4200 in DETR's) does not count.
UNREACHED = 2048

# Without pretrained weights mmdet leaves TridentConv's as memory that nobody has written: numbers
# of earlier tensors, at times NaN. ResNet's own rule, with that layer.
_TRIDENT = [dict(type='Kaiming', layer=['Conv2d', 'TridentConv']),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]


def stage(cfg: Config, root: Path, data: Folder, longest: int = LONGEST,
          thaw: bool = False) -> Config:
    """A config that trains at once: no downloads, no workers, small batches, no validation.

    The architecture, the optimizer, its schedule, the transforms and the hooks stay as they are; 16
    bits become 32.

    Args:
        cfg: A config of the zoo. It is not changed.
        root: The zoo, beside which a teacher's config is named.
        data: What it trains on.
        longest: The longest side of an image in px.
        thaw: Whether the backbones' frozen stages and norms move.
    """
    tree = plain(cfg)
    _no_downloads(tree, root)
    without_amp(tree)
    data.serve(tree)
    if thaw:
        _thaw(tree)
    _small_images(tree, longest)
    loader = tree.get('train_dataloader')
    if isinstance(loader, dict):
        loader.update(num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)
        if 'source_ratio' not in (loader.get('sampler') or {}):
            loader['batch_size'] = 2
    for name in ('val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg', 'test_dataloader',
                 'test_evaluator', 'tta_model', 'load_from'):
        tree[name] = None
    hooks = tree.get('default_hooks') or {}
    tree['default_hooks'] = {**{name: hook for name, hook in hooks.items()
                                if name != 'visualization'}, 'checkpoint': None}
    tree.update(resume=False, launcher='none', randomness=dict(seed=0), log_level='WARNING',
                visualizer=None)
    return Config(tree, format_python_code=False)


def without_amp(tree: dict[str, Any]) -> None:
    """Puts mmengine's plain wrapper in the place of AmpOptimWrapper, which refuses CPUs."""
    for _, wrapper in optim_wrappers(tree):
        if type_name(wrapper) == 'AmpOptimWrapper':
            wrapper['type'] = 'OptimWrapper'
            for key in ('loss_scale', 'dtype', 'use_fsdp'):
                wrapper.pop(key, None)


def _no_downloads(tree: dict[str, Any], root: Path) -> None:
    """Leaves out pretrained weights, and reads a teacher's config in their place."""
    for _, node in walk(tree.get('model'), 'model'):
        if isinstance(node.get('teacher_config'), str):
            teacher = plain(Config.fromfile(root.parent / node['teacher_config']))
            node['teacher_config'] = dict(model=teacher['model'])
    for _, node in walk(tree.get('model'), 'model'):
        for key in ('pretrained', 'teacher_ckpt'):
            if isinstance(node.get(key), str):
                node[key] = None
        first = node.get('init_cfg')
        if isinstance(first, dict) and type_name(first) == 'Pretrained':
            node['init_cfg'] = _TRIDENT if type_name(node) == 'TridentResNet' else None
        elif isinstance(first, list):
            node['init_cfg'] = [one for one in first if type_name(one) != 'Pretrained']


def _thaw(tree: dict[str, Any]) -> None:
    """Lets backbones train whole, as without pretrained weights they must."""
    for _, node in walk(tree.get('model'), 'model'):
        if 'norm_eval' in node:
            node['norm_eval'] = False
        if 'frozen_stages' in node:
            node['frozen_stages'] = -1
        if isinstance(node.get('norm_cfg'), dict) and 'requires_grad' in node['norm_cfg']:
            node['norm_cfg']['requires_grad'] = True


def _pairs(value: Any) -> list[Any]:
    """The numbers of a size: one, two, or a list of pairs."""
    return [number for one in value for number in _pairs(one)] \
        if isinstance(value, (list, tuple)) else [value]


def _is_size(value: Any) -> bool:
    numbers = _pairs(value)
    return bool(numbers) and all(
        isinstance(number, int) and not isinstance(number, bool) and number >= 64
        for number in numbers)


def _sized(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Every transform of images and every augmentation of batches."""
    found = [node for key in ('train_dataloader', 'train_pipeline')
             for _, node in walk(tree.get(key), key)]
    return found + [node for _, node in walk(get(tree, 'model.data_preprocessor'), 'model')]


def _small_images(tree: dict[str, Any], longest: int) -> None:
    """Scales all sizes in pixels alike, to multiples of 32."""
    nodes = _sized(tree)
    sizes = [number for node in nodes for key in SIZES if _is_size(node.get(key))
             for number in _pairs(node[key]) if number <= UNREACHED]
    if not sizes or max(sizes) <= 1.25 * longest:
        return
    factor = longest / max(sizes)
    for node in nodes:
        for key in SIZES:
            if _is_size(node.get(key)):
                node[key] = _scaled(node[key], factor)
        if type_name(node) == 'RandomAffine' and 'border' in node:
            node['border'] = tuple(round(side * factor) for side in node['border'])


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(one, factor) for one in value)
    return max(32, round(value * factor / 32) * 32)
