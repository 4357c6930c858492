"""What `zoo_build` does for mmdet's configs, for mmpretrain's: the model itself and class folders.

The model is the config's own, built without memory; the data set is two folders of small images,
in whatever wrappers and with the transforms of the config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from zoo_build import Parts
from zoo_stage import without_amp

from tricks_plugin.mm.classification import preprocessor
from tricks_plugin.mm.config_edit import default_scope, plain, type_name, walk
from tricks_plugin.mm.meta import built_on_meta

CLASSES, IMAGES, SIDE = ('ant', 'bee'), 4, 64


def folders(root: Path) -> Path:
    """Two folders of images of random pixels, written once."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for number in range(IMAGES):
            file = root / 'classes' / name / f'{number}.jpg'
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (SIDE, SIDE + 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(file)
    return root / 'classes'


def stubbed(cfg: Config, root: Path) -> Config:
    """A config whose training data are class folders, without workers and without 16 bits."""
    tree = plain(cfg)
    data = str(folders(root))
    for _, node in walk(tree.get('train_dataloader'), 'train_dataloader'):
        if 'type' in node and 'pipeline' in node and 'dataset' not in node:
            pipeline = node['pipeline']
            node.clear()
            node.update(type='mmpretrain.CustomDataset', data_root=data, pipeline=pipeline)
    loader = tree.get('train_dataloader') or {}
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    without_amp(tree)
    return Config(tree, format_python_code=False)


class ClassParts(Parts):
    """The parts of a config of mmpretrain.

    Args:
        cfg: A config made for it by `stubbed`.
    """

    def whole(self) -> None:
        """The model, on the meta device.

        Raises:
            ValueError: If it cannot be built.
        """
        tree = plain(self.cfg)
        found = preprocessor(tree)
        section = {**tree['model'], **({'data_preprocessor': found.node} if found else {})}
        built = built_on_meta(section, default_scope(tree))
        if built is None:
            raise ValueError(f'{type_name(section)} cannot be built')
        self.model = built

    def preprocessor(self) -> None:
        """The preprocessor with the augmentations of batches, as the model makes it."""
        tree = plain(self.cfg)
        found = preprocessor(tree)
        node = dict(found.node) if found else {}
        node.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
        held: Any = tree['model'].get('train_cfg')
        if isinstance(held, dict) and 'augments' in held:
            node['batch_augments'] = held
        MODELS.build(node)
