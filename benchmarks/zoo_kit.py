"""What the three walks through the zoo share: the configs, and the kinds of detector among them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from tricks_plugin.mm.config_edit import get, lookup_class, plain, type_name, walk

OWN = Path(__file__).resolve().parents[1] / 'configs'
# Fragments for `_base_`, and settings of timm: not configs by themselves.
FRAGMENTS = ('recipes', 'timm')
# Backbones without a depth, in ResNet's layers: about what a step with them costs.
DEPTHS = {'MobileNetV2': 12, 'Darknet': 53, 'SSDVGG': 40, 'EfficientNet': 60, 'HourglassNet': 300,
          'CSPDarknet': 80, 'CSPNeXt': 80, 'PyramidVisionTransformer': 70,
          'PyramidVisionTransformerV2': 50}
UNKNOWN_DEPTH = 120


def zoo(package: str = 'mmdet') -> Path:
    """The configs of an installed OpenMMLab package, a folder, or a wheel ``NAME==VERSION``."""
    if Path(package).is_dir():
        return Path(package)
    if '==' in package:
        return _of_wheel(package)
    module = importlib.import_module(package)
    return Path(str(module.__file__)).parent / '.mim' / 'configs'


@functools.cache
def _of_wheel(requirement: str) -> Path:
    """Downloads a wheel alone, and unpacks the configs in it; nothing is installed."""
    folder = Path(tempfile.mkdtemp(prefix='zoo-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary',
                    ':all:', '--dest', folder, requirement], check=True)
    wheel, = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if '/.mim/configs/' in name]
        if not names:
            raise SystemExit(f'{wheel.name} holds no configs')
        archive.extractall(folder, names)
    return folder / names[0].partition('/.mim/')[0] / '.mim' / 'configs'


def config_names(root: Path) -> list[str]:
    """Every config below the zoo that trains something by itself, in either style."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob('*.py')
        if '_base_' not in path.parts and path.name != '__init__.py'
    )


def sources(names: list[str] | None = None, package: str = 'mmdet') -> dict[str, Path]:
    """Names and paths of a zoo's configs and, beside mmdet's, of this repository's own.

    Args:
        names: Only these; the repository's own begin with ``configs/``.
        package: Whose zoo.
    """
    root = zoo(package)
    found = {name: root / name for name in config_names(root)}
    if package == 'mmdet':
        found |= {f'configs/{name}': OWN / name for name in config_names(OWN)
                  if Path(name).parts[0] not in FRAGMENTS}
    return found if names is None else {name: found.get(name, root / name) for name in names}


def load(path: Path) -> Config | None:
    """The config, or None where mmengine cannot load it (a base file is missing).

    Packages that a config would import at its training need not be installed for its plan.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return Config.fromfile(path, import_custom_modules=False)
        except Exception:  # a config is a program
            return None


def kind_of(cfg: Config) -> str:
    """The class of the model; empty for a config without one."""
    model = cfg.get('model')
    return type_name(plain(model)) if isinstance(model, dict) and 'type' in model else ''


def no_detector(kind: str) -> str:
    """Why a class of mmdet is no detector, or an empty string for one that is."""
    found = lookup_class(kind, 'mmdet')
    bases = {base.__name__ for base in found.__mro__} if found is not None else set()
    if 'BaseMOTModel' in bases:
        return 'a tracker or a video model, no detector: it trains on sequences of frames'
    if kind == 'BaseReID':
        return 'a classifier of persons for trackers (re-identification), no detector'
    if kind == 'ImageClassifier':
        return "mmpretrain's classifier, for a backbone's pretraining, no detector"
    return ''


def effort(name: str, cfg: Config) -> tuple[Any, ...]:
    """What orders the configs of one kind: the first is the smallest.

    In fp32 and on COCO's boxes first, as others need a GPU or other packages, and those last whose
    loop mmengine refuses, as it has both ``type`` and ``by_epoch``; then by the layers of all
    backbones (a teacher's too) times their width; then those in the folder of that name, and by the
    length of the name, which grows with what is unusual.
    """
    tree = plain(cfg)
    layers = 0.0
    for path, node in walk(tree.get('model'), 'model'):
        if path.rsplit('.', 1)[-1] == 'backbone':
            depth = node.get('depth')
            depth = depth if isinstance(depth, int) else DEPTHS.get(type_name(node), UNKNOWN_DEPTH)
            scale = node.get('deepen_factor', 1.0) * node.get('widen_factor', 1.0) ** 2
            layers += depth * scale
    datasets = [type_name(node) for _, node in walk(get(tree, 'train_dataloader.dataset'))]
    home = name.split('/')[0].replace('_', '')
    refused = {'type', 'by_epoch'} <= set(tree.get('train_cfg') or {})
    amp = 'Amp' in type_name(get(tree, 'optim_wrapper', {}))
    return (refused, amp, bool(tree.get('custom_imports')),
            not datasets, 'CocoDataset' not in datasets, len(get(tree, 'model.language_model', ())),
            round(layers, 2), len(datasets), home != kind_of(cfg).lower(), len(name), name)
