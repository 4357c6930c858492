"""mmpretrain itself: its losses, its zoo, and a training with the whole bag."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

mmpretrain = pytest.importorskip('mmpretrain')

import torch  # noqa: E402
from mmengine.config import Config, ConfigDict  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from support.libraries import classifier  # noqa: E402
from support.sums import tolerance  # noqa: E402

from tricks_plugin import apply_tricks  # noqa: E402
from tricks_plugin.mm.runner import build_runner  # noqa: E402
from tricks_plugin.plan import TrickError  # noqa: E402
from tricks_plugin.tricks.label_smoothing.class_loss import SmoothedClassificationLoss  # noqa: E402
from tricks_plugin.tricks.mixup.batch_hook import unmixed  # noqa: E402

pytestmark = pytest.mark.slow

ZOO = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
BAG = ('resnet_d', 'linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing', 'mixup',
       'sync_bn', 'random_shapes', 'ema', 'zero_gamma', 'runtime', 'data_cache', 'data_monitor',
       'finite_guard', 'amp')


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('settings', [
    dict(), dict(class_weight=[1.0, 2.0, 0.5], loss_weight=0.7), dict(use_soft=True),
    dict(use_sigmoid=True, pos_weight=[2.0, 1.0, 1.0]),
    dict(use_sigmoid=True, class_weight=[1.0, 2.0, 0.5], reduction='sum'), dict(reduction='none')])
def test_with_an_eps_of_nothing_the_loss_is_mmpretrains(settings):
    from mmpretrain.models.losses import CrossEntropyLoss
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hard, soft = torch.tensor([0, 2, 1, 1]), torch.tensor([0.2, 0.5, 0.3]).double().expand(4, 3)
    ours, theirs = SmoothedClassificationLoss(**settings, eps=0.0), CrossEntropyLoss(**settings)
    labels = [soft] if settings.get('use_sigmoid') or settings.get('use_soft') else [hard]
    if not settings:
        labels.append(soft)
    factors = (None,) if settings.get('reduction') else (None, 4, 7.5)
    for label in labels:
        for factor in factors:
            for weight in (None, torch.tensor([1.0, 0.0, 2.0, 0.5]).double()):
                pair = [loss(logits, label, weight=weight, avg_factor=factor)
                        for loss in (ours, theirs)]
                # mmpretrain's sigmoid takes float32 weights: 12 terms, none below 0
                torch.testing.assert_close(*pair, atol=0, check_dtype=False, rtol=tolerance(
                    12, 1.0) if settings.get('use_sigmoid') else 1e-12)


@pytest.mark.parametrize('name', [
    'resnet/resnet50_8xb32_in1k.py', 'resnet/resnetv1c50_8xb32_in1k.py',
    'resnet/resnet50_8xb32-mixup_in1k.py', 'resnet/resnet50_8xb256-rsb-a2-300e_in1k.py',
    'csra/resnet101-csra_1xb16_voc07-448px.py', 'vgg/vgg16_8xb32_in1k.py',
    'conformer/conformer-tiny-p16_8xb128_in1k.py', 'arcface/resnet50-arcface_8xb32_inshop.py',
    'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py', 'levit/levit-128s_8xb256_in1k.py'])
def test_the_zoo_is_planned_and_the_effective_model_builds(name):
    from mmpretrain.registry import MODELS
    cfg = Config.fromfile(ZOO / name)
    effective, plan = apply_tricks(cfg, list(BAG))
    rows = {row.name: row for row in plan.tricks}
    assert all(row.changes if row.status == 'applied' else row.reason for row in plan.tricks)
    again, second = apply_tricks(effective, list(BAG))
    assert [row.name for row in second.tricks if row.status == 'applied'] == []
    settings = effective.to_dict()
    model = settings['model']
    model.setdefault('data_preprocessor', settings['data_preprocessor'])
    if isinstance(model.get('backbone'), dict):
        model['backbone'].pop('init_cfg', None)
    if 'arcface' not in name:
        MODELS.build(ConfigDict(model))
    if name.startswith('resnet/resnet50_8xb32_in1k'):
        assert {trick: rows[trick].status for trick in BAG} == {
            trick: 'present' if trick == 'zero_gamma' else 'applied' for trick in BAG}
        assert model['backbone'] == dict(type='ResNetV1d', depth=50, num_stages=4,
                                         out_indices=(3,), style='pytorch')
    if name.startswith('vgg'):
        assert rows['random_shapes'].reason == ('model.backbone is VGG, and the model takes images '
                                                'of 224 px and not of 160')
    if name.startswith('levit'):
        assert rows['sync_bn'].status == 'applied'


@pytest.fixture()
def folder(tmp_path):
    """Eight images of each of three classes, told by their colour."""
    from PIL import Image
    generator = np.random.default_rng(0)
    for index, name in enumerate(('red', 'green', 'blue')):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for number in range(8):
            image = generator.integers(0, 90, (72, 80, 3), dtype=np.uint8)
            image[..., index] += 120
            Image.fromarray(image).save(tmp_path / 'data' / name / f'{number}.png')
    return tmp_path


def config(folder, **more):
    """A ResNet-18 of a quarter of the width on the folder, for four epochs of six batches."""
    cfg = classifier(dict(num_classes=3, in_channels=128), dict(zero_init_residual=False), size=96,
                     preprocessor=dict(num_classes=3, mean=[128.0] * 3, std=[64.0] * 3), **more)
    cfg.model.backbone.update(depth=18, stem_channels=16, base_channels=16)
    steps = [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=96),
             dict(type='PackInputs')]
    loader = dict(batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
                  collate_fn=dict(type='default_collate'),
                  dataset=dict(type='CustomDataset', data_root=str(folder / 'data'),
                               pipeline=steps))
    cfg.work_dir, cfg.randomness = str(folder / 'work'), dict(seed=0)
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=10))
    cfg.train_cfg.max_epochs, cfg.val_cfg = 4, dict()
    cfg.val_evaluator, cfg.auto_scale_lr = dict(type='Accuracy', topk=(1,)), dict(base_batch_size=8)
    cfg.train_dataloader = loader
    cfg.val_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=False))
    return cfg


def measured(folder):
    """What the evidence found at the end, by trick."""
    report = json.loads((folder / 'work' / 'tricks_evidence.json').read_text())
    return {row['name']: row for row in report['tricks']}


def test_a_training_with_the_whole_bag_is_live(folder):
    cfg = config(folder)
    # The shapes: sizes of 64 and 96 px, drawn for each batch. The cache: in the test's folder.
    cfg.tricks = [*(name for name in BAG if name not in ('amp', 'random_shapes', 'mixup',
                                                         'data_cache')),
                  dict(random_shapes=dict(sizes=(64, 96), interval=1),
                       mixup=dict(alpha=1.0, off_fraction=0.25),
                       data_cache=dict(folder=str(folder / 'cache')), strict=True)]
    runner = build_runner(cfg)
    runner.train()
    tricks = measured(folder)
    dead = {name: one for name, one in tricks.items() if one.get('live') is False}
    assert dead == {}
    live = {name for name, one in tricks.items() if one.get('live')}
    assert live >= {'resnet_d', 'linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing',
                    'mixup', 'random_shapes', 'ema', 'zero_gamma', 'data_cache'}
    model = runner.model
    assert type(model.backbone).__name__ == 'ResNetV1d'
    assert model.data_preprocessor.batch_augments is unmixed  # off for the last epoch
    assert not any('smoother' in key for key in model.state_dict())


def test_an_end_of_mixup_leaves_mmpretrains_own_loss_working(folder):
    cfg = config(folder)
    cfg.tricks = dict(mixup=dict(alpha=1.0, off_fraction=0.5))
    cfg.train_cfg.max_epochs = 2
    build_runner(cfg).train()
    mixup = measured(folder)['mixup']
    assert mixup['live'] is True and mixup['values']['samples_after_switch'] == 24


def test_mmpretrains_own_smoothing_and_mixing_are_measured_and_can_be_dead(folder):
    head = dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=3))
    cfg = config(folder)
    cfg.model.head.update(head)
    cfg.model.train_cfg = dict(augments=dict(type='Mixup', alpha=1.0))
    cfg.tricks = ['label_smoothing', 'mixup']
    cfg.train_cfg.max_epochs = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = build_runner(cfg)
    runner.train()
    tricks = measured(folder)
    assert tricks['label_smoothing']['live'] is True and tricks['mixup']['live'] is True
    assert tricks['mixup']['values']['mixed'] > 3


def teacher(folder, classes):
    """The config of a ResNet-34 that knows as many classes, and where it lies."""
    cfg, path = config(folder), folder / f'resnet34_{classes}.py'
    cfg.model.backbone.depth, cfg.model.head.num_classes = 34, classes
    Config(dict(model=cfg.model, data_preprocessor=cfg.data_preprocessor,
                default_scope='mmpretrain')).dump(path)
    return cfg, str(path)


def test_a_teachers_share_is_of_all_losses_and_its_weights_must_fit(folder):
    from mmpretrain.registry import MODELS
    cfg = config(folder)
    cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size = 1, 8
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    (of_three, path), (_, four) = teacher(folder, 3), teacher(folder, 4)
    torch.manual_seed(1)
    held = MODELS.build(of_three.model).state_dict()
    more = {**held, 'head.fc.weight': torch.zeros(4, 128), 'head.fc.bias': torch.zeros(4)}
    wrong = {'extra.weight' if name == 'backbone.conv1.weight' else name: value
             for name, value in held.items()}
    weights, of_four, renamed = (str(folder / f'{name}.pth') for name in ('own', 'four', 'wrong'))
    for state, file in ((held, weights), (more, of_four), (wrong, renamed)):
        torch.save(dict(state_dict=state), file)
    for named, message in (
            (dict(teacher=four, checkpoint=of_four), 'the 3 classes of the student, got 4'),
            (dict(teacher=path, checkpoint=of_four),
             r'must fit tricks\.distill\.teacher, got .*shapes: head\.fc\.weight is \(4, 128\) and '
             r'not \(3, 128\), head\.fc\.bias'),
            (dict(teacher=path, checkpoint=renamed),
             r'missing: backbone\.conv1\.weight; left over: extra\.weight$')):
        with pytest.raises(TrickError, match=message):
            apply_tricks(cfg, dict(distill=named))
    # A weight at which a share of the head's own loss alone would be more than the whole.
    cfg.tricks = dict(distill=dict(teacher=path, checkpoint=weights, weight=1000.0), strict=True)
    build_runner(cfg).train()
    found = measured(folder)['distill']
    assert found['live'] is True and 0.5 < found['values']['share'] < 1
