"""The demo's and the blood-cell configs are plain, complete, and train on CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('mmdet')
pytest.importorskip('mmcv')

from mmengine.config import Config  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / 'configs' / 'demo' / 'yolov3_digits.py'
BCCD = ROOT / 'configs' / 'bccd' / 'yolov3_mobilenetv2_bccd.py'
HALF = BCCD.with_name('yolov3_mobilenetv2-half_bccd_128px.py')
PRETRAINED = BCCD.with_name('yolov3_efficientnet-lite0_bccd_128px.py')
CLASSES = {DIGITS: 10, BCCD: 3, HALF: 3}
BATCH = {DIGITS: 8, BCCD: 16, HALF: 8}
VARIABLE = {DIGITS: 'DIGITS_ROOT', BCCD: 'BCCD_ROOT', HALF: 'BCCD_ROOT'}
LAYOUT = {
    DIGITS: {split: (f'annotations/{split}.json', split) for split in ('train', 'val')},
    **{config: {split: (f'{split}.json', 'images') for split in ('train', 'val', 'test')}
       for config in (BCCD, HALF)},
}
BOXES = [(0, 5, 6, 20, 30), (0, 40, 9, 31, 41), (0, 70, 20, 22, 33), (1, 8, 12, 24, 40)]


def write_data(root: Path, config: Path) -> None:
    """Writes two images of 96x64 and 64x80 px per split, with BOXES: image, x, y, w, h."""
    import cv2
    rng = np.random.default_rng(0)
    names = Config.fromfile(config).val_dataloader.dataset.metainfo.classes
    images = [dict(id=0, file_name='0.png', width=96, height=64),
              dict(id=1, file_name='1.png', width=64, height=80)]
    annotations = [dict(id=index + 1, image_id=image, category_id=index % len(names), bbox=box,
                        area=box[2] * box[3], iscrowd=0)
                   for index, (image, *box) in enumerate(BOXES)]
    categories = [dict(id=index, name=name) for index, name in enumerate(names)]
    content = dict(images=images, annotations=annotations, categories=categories)
    for file_name, folder in LAYOUT[config].values():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / file_name).parent.mkdir(parents=True, exist_ok=True)
        (root / file_name).write_text(json.dumps(content))
        for image in images:
            pixels = rng.integers(0, 256, (image['height'], image['width'], 3), dtype=np.uint8)
            cv2.imwrite(str(root / folder / image['file_name']), pixels)


def as_text(cfg: Config) -> str:
    return json.dumps(cfg.to_dict(), default=str)


def build_loader(loader: Any) -> Any:
    loader = dict(loader, num_workers=0, persistent_workers=False, batch_size=2)
    return Runner.build_dataloader(loader, seed=0)


@pytest.fixture(params=[DIGITS, BCCD, HALF], ids=['digits', 'bccd', 'half'])
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_no_trick_is_in_the_plain_config(path: Path) -> None:
    cfg = Config.fromfile(path)
    text = as_text(cfg)
    assert 'tricks' not in cfg and 'runner_type' not in cfg and 'custom_hooks' not in cfg
    for name in ('tricks_plugin', 'MixUp', 'one_hot_smoother', 'label_smooth', 'Cosine',
                 'paramwise_cfg', 'SyncBN', 'sync_bn', 'BatchSyncRandomResize', 'EMAHook',
                 'http', 'open-mmlab'):
        assert name not in text, name
    warmup, steps = cfg.param_scheduler
    assert warmup['type'] == 'LinearLR' and warmup['start_factor'] == 0.1
    assert steps['type'] == 'MultiStepLR' and max(steps['milestones']) < cfg.train_cfg.max_epochs
    assert cfg.optim_wrapper.optimizer.weight_decay > 0
    assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size == BATCH[path]


def test_the_two_of_128_px_train_alike() -> None:
    half, pretrained = Config.fromfile(HALF), Config.fromfile(PRETRAINED)
    for key in ('train_dataloader', 'val_dataloader', 'optim_wrapper', 'param_scheduler',
                'train_cfg', 'auto_scale_lr'):
        assert half[key] == pretrained[key], key
    resize, = [step for step in half.train_dataloader.dataset.dataset.pipeline
               if step['type'] == 'Resize']
    assert resize['scale'] == (128, 128) and half.train_cfg.max_epochs == 40
    heads = [cfg.model.bbox_head.anchor_generator for cfg in (half, pretrained)]
    assert [len(head.base_sizes) for head in heads] == [len(head.strides) for head in heads]


def test_one_variable_moves_every_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Config.fromfile(path)
    assert default.data_root in ('data/digits', 'data/bccd')
    monkeypatch.setenv(VARIABLE[path], 'elsewhere')
    moved = Config.fromfile(path)
    assert as_text(default).count(default.data_root) >= 3
    assert default.data_root not in as_text(moved)
    assert 'data/coco' not in as_text(moved)


@pytest.fixture()
def cfg(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    from mmdet.utils import register_all_modules
    register_all_modules()
    write_data(tmp_path, path)
    monkeypatch.setenv(VARIABLE[path], str(tmp_path))
    return Config.fromfile(path)


def test_it_trains_on_cpu(cfg: Config, path: Path) -> None:
    from mmdet.registry import MODELS
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    batch = next(iter(build_loader(cfg.train_dataloader)))
    batch = model.data_preprocessor(batch, training=True)
    assert 1 <= sum(len(sample.gt_instances) for sample in batch['data_samples']) <= 4
    losses = model.loss(batch['inputs'], batch['data_samples'])
    total = sum(sum(part) for part in losses.values())
    assert set(losses) == {'loss_cls', 'loss_conf', 'loss_xy', 'loss_wh'}
    assert torch.isfinite(total) and total > 0
    total.backward()
    gradient = model.bbox_head.convs_pred[0].weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    assert model.bbox_head.num_classes == CLASSES[path]


@pytest.mark.parametrize('split', ['val', 'test'])
def test_the_evaluator_gives_1_to_the_ground_truth(cfg: Config, split: str) -> None:
    from mmdet.registry import METRICS
    loader = build_loader(cfg[f'{split}_dataloader'])
    metric = METRICS.build(cfg[f'{split}_evaluator'])
    metric.dataset_meta = loader.dataset.metainfo
    names = loader.dataset.metainfo['classes']
    samples = [sample.to_dict() for sample in next(iter(loader))['data_samples']]
    for sample in samples:
        found = [(index % len(names), x, y, x + w, y + h)
                 for index, (image, x, y, w, h) in enumerate(BOXES) if image == sample['img_id']]
        table = torch.tensor(found, dtype=torch.float32)
        sample['pred_instances'] = dict(
            labels=table[:, 0].long(), bboxes=table[:, 1:], scores=torch.ones(len(found)))
    metric.process({}, samples)
    assert metric.evaluate(size=2)['coco/bbox_mAP'] == pytest.approx(1.0, abs=1e-3)
