"""The small options: where they are switched on, and that they are in force."""

from __future__ import annotations

import logging
import types

import mmcv.ops
import pytest
import torch
from mmdet.models import TOODHead
from mmengine.config import Config
from mmengine.runner import Runner

from tricks_plugin import RuntimeOptionsHook
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.tricks.runtime import Runtime
from tricks_plugin.tricks.runtime import device as machine
from tricks_plugin.tricks.runtime.evidence import RuntimeEvidence
from tricks_plugin.tricks.runtime.functional import fixed_size, needs_plain_layout


@pytest.fixture()
def gpu(monkeypatch):
    """A machine with a GPU of capability 9.0, as far as the plan can tell."""
    monkeypatch.setattr(machine, 'capability', lambda: (9, 0))


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(machine, 'capability', lambda: ())


def planned(cfg, **params):
    verdict = Runtime.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        assert Runtime.from_dict(params).apply(cfg).status == 'present'
    return verdict


def config(steps=(), wrapper='OptimWrapper', backbone='ResNet', **loader):
    return dict(
        optim_wrapper=dict(type=wrapper, optimizer=dict(type='SGD', lr=0.1)),
        model=dict(type='RetinaNet', data_preprocessor=dict(type='DetDataPreprocessor'),
                   backbone=dict(type=backbone)),
        train_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=list(steps)), **loader))


def timm_config(name):
    cfg = config(backbone='tricks_plugin.TimmBackbone')
    cfg['model']['backbone']['model_name'] = name
    return cfg


RESIZE = dict(type='Resize', scale=(320, 256))
CROP = [dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(320, 256))]


@pytest.mark.parametrize(('steps', 'size'), [
    ([dict(type='Expand'), dict(type='MinIoURandomCrop'), RESIZE, dict(type='RandomFlip')],
     (320, 256)),
    ([dict(RESIZE, keep_ratio=True)], None),
    ([dict(RESIZE, keep_ratio=True), dict(type='Pad', size=(320, 320))], (320, 320)),
    ([dict(RESIZE, keep_ratio=True), dict(type='Pad', size=(320, 256))], None),  # portraits
    ([dict(RESIZE, keep_ratio=True), dict(type='Pad', size_divisor=32)], None),
    (CROP, None), ([*CROP, dict(type='Pad', size=(320, 320))], (320, 320)),
    ([*CROP, dict(type='Pad', size=(288, 288))], None),
    ([dict(type='Mosaic', img_scale=(160, 96)), dict(type='RandomAffine', border=(-80, -48))],
     (160, 96)),
    ([RESIZE, dict(type='MyOwnZoom')], None), ([RESIZE, 3], None), ([], None),
    ([dict(type='Resize', scale=[(320, 256), (640, 512)])], None),
    ([dict(type='RandomChoiceResize', scales=[(320, 256)])], None),
])
def test_the_size_that_leaves_a_pipeline(steps, size):
    assert fixed_size(steps) == size


def test_cudnn_benchmark_needs_batches_of_one_shape(gpu):
    cfg = config([RESIZE])
    verdict = planned(cfg, tf32=False, channels_last=False, pin_memory=False)
    assert cfg['env_cfg'] == dict(cudnn_benchmark=True)
    assert verdict.reason.startswith('cudnn_benchmark (every batch has 320 x 256 px)')
    for augment in ('BatchSyncRandomResize', 'tricks_plugin.BatchRandomShapes'):
        cfg = config([RESIZE])
        cfg['model']['data_preprocessor']['batch_augments'] = [dict(type=augment)]
        assert 'cudnn_benchmark (the shapes of the batches vary' in planned(cfg).reason


@pytest.mark.parametrize(('step', 'fixed'), [
    (dict(type='tricks_plugin.GeometryPreservingMixUp'), True),
    (dict(type='tricks_plugin.PackWeightedDetInputs'), True),
    (dict(type='tricks_plugin.LoadCachedImage'), True),
    (dict(type='tricks_plugin.MosaicToScale'), False), (dict(type='MyOwnZoom'), False)])
def test_a_step_of_another_room_says_itself_whether_images_keep_their_size(gpu, step, fixed):
    cfg = config([RESIZE, step])
    planned(cfg)
    assert ('env_cfg' in cfg) is fixed
    cfg = config([RESIZE, step])
    cfg['custom_hooks'] = [dict(type='tricks_plugin.ClassifierShapesHook', base=256, sizes=[256])]
    planned(cfg)
    assert 'env_cfg' not in cfg


@pytest.mark.parametrize(('pad', 'fixed'), [((320, 352), True), ((320, 300), False)])
def test_a_pad_of_the_batch_fixes_shapes_if_no_image_is_larger(gpu, pad, fixed):
    cfg = config(CROP)
    inner = cfg['train_dataloader']['dataset']
    cfg['train_dataloader']['dataset'] = dict(type='RepeatDataset', times=2, dataset=inner)
    cfg['model']['data_preprocessor']['batch_augments'] = [
        dict(type='BatchFixedSizePad', size=pad)]
    planned(cfg)
    assert ('env_cfg' in cfg) is fixed


def test_lsj_with_amp_gets_all_that_a_gpu_has(zoo, gpu):
    name = 'retinanet/retinanet_r50_fpn_8xb8-amp-lsj-200e_coco.py'
    cfg = plain(Config.fromfile(zoo / name))
    verdict = planned(cfg)
    assert verdict.promise['options'] == ['cudnn_benchmark', 'tf32', 'channels_last',
                                           'persistent_workers', 'pin_memory']
    assert cfg['env_cfg']['cudnn_benchmark'] and cfg['env_cfg']['mp_cfg']
    assert cfg['train_dataloader']['pin_memory']
    assert cfg['custom_hooks'] == [
        dict(type='tricks_plugin.RuntimeOptionsHook', tf32=True, channels_last=True)]


def test_on_a_cpu_a_config_with_persistent_workers_has_nothing_left_to_change(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    verdict = planned(cfg)
    assert verdict.status == 'present'
    assert verdict.reason.startswith('persistent_workers (the loaders have it); left alone: ')
    assert 'channels_last (SingleRoIExtractor reads the plain layout only)' in verdict.reason


def test_workers_stay_but_for_hooks_that_restart_them():
    loader = dict(num_workers=2)
    cfg = config(num_workers=4)
    cfg.update(val_dataloader=dict(loader), test_dataloader=dict(num_workers=0))
    verdict = planned(cfg)
    assert verdict.promise['loaders'] == ['train_dataloader', 'val_dataloader']
    assert cfg['test_dataloader'] == dict(num_workers=0)
    cfg = dict(config(num_workers=4), val_dataloader=dict(loader),
               custom_hooks=[dict(type='PipelineSwitchHook')])
    assert 'training loader is left to PipelineSwitchHook' in planned(cfg).reason
    assert 'persistent_workers' not in cfg['train_dataloader']
    cfg = dict(config(num_workers=4), custom_hooks=[dict(type='YOLOXModeSwitchHook')])
    assert 'YOLOXModeSwitchHook restarts the workers' in planned(cfg).reason


@pytest.mark.parametrize(('cfg', 'words'), [
    (config(backbone='MobileNetV2'), 'depthwise'), (config(), None),
    (dict(config(backbone='MobileNetV2'), launcher='pytorch'), None),
    (timm_config('tf_efficientnet_lite0'), 'depthwise'), (timm_config('resnet18'), None),
])
def test_on_cpus_the_layout_changes_where_it_was_measured_to_help(cfg, words):
    verdict = planned(cfg)
    assert ('channels_last (it helps depthwise' in verdict.reason) is bool(words)


@pytest.mark.parametrize('part', [
    dict(neck=dict(type='CTResNetNeck')), dict(bbox_head=dict(type='TOODHead')),
    dict(backbone=dict(type='ResNet', dcn=dict(type='DCNv2'))),
    dict(roi_head=dict(type='StandardRoIHead', e=dict(type='SingleRoIExtractor')))])
def test_models_with_compiled_operations_keep_the_plain_layout(gpu, part):
    cfg = config(wrapper='AmpOptimWrapper')
    assert 'channels_last' in planned(cfg).promise['options']
    cfg = config(wrapper='AmpOptimWrapper')
    cfg['model'].update(part)
    assert 'reads the plain layout only' in planned(cfg).reason


def test_why_compiled_operations_keep_the_plain_layout():
    torch.manual_seed(0)
    maps, rois = torch.rand(1, 3, 9, 7), torch.tensor([[0.0, 1.0, 1.0, 6.0, 8.0]])
    pool = mmcv.ops.RoIAlign(2)
    nonsense = pool(maps.contiguous(memory_format=torch.channels_last), rois)
    assert (nonsense - pool(maps, rois)).abs().max() > 0.05  # fails once mmcv handles it
    assert needs_plain_layout(mmcv.ops.RoIAlign) == 'RoIAlign'
    assert needs_plain_layout(TOODHead).startswith('DeformConv2dFunction')
    assert needs_plain_layout(torch.nn.Conv2d) == ''


@pytest.mark.parametrize(('cfg', 'words'), [
    ({}, 'does not train'), (dict(config(), train_dataloader=[3]), 'does not train'),
    (config(), 'left alone: cudnn_benchmark (this machine has no GPU), tf32 ('),
    (dict(config(), model=None, env_cfg=3, custom_hooks=7), 'no loader has workers')])
def test_elsewhere_the_reason_is_given(cfg, words):
    verdict = planned(cfg)
    assert verdict.status == 'not_applicable' and words in verdict.reason


def test_each_option_can_be_left_out(gpu):
    off = dict.fromkeys(
        ('cudnn_benchmark', 'tf32', 'channels_last', 'persistent_workers', 'pin_memory'), False)
    assert planned(config([RESIZE], num_workers=1), **off).reason == 'every option is switched off'
    for name in off:
        cfg = config([RESIZE], wrapper='AmpOptimWrapper', num_workers=1)
        assert planned(cfg, **dict(off, **{name: True})).promise['options'] == [name]


def test_timm_gets_its_flags(gpu):
    trick = Runtime.from_dict({})
    assert trick.timm_args({'amp': True}) == {'pin_mem': True, 'channels_last': True}
    assert trick.timm_args({}) == {'pin_mem': True}
    assert trick.timm_args({'device': 'cpu'}) == \
        'its flags in timm (--pin-mem, --channels-last) help on a GPU only'
    assert 'both are left out' in Runtime.from_dict({'pin_memory': False}).timm_args({})


class Net(torch.nn.Module):
    """Plain, depthwise and strided convolutions, a norm, and pixels flattened at the end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 3, 2), torch.nn.BatchNorm2d(6), torch.nn.Conv2d(
                6, 6, 3, groups=6), torch.nn.ReLU(), torch.nn.Conv2d(6, 4, 3))
        self.head = torch.nn.Linear(4 * 3 * 5, 2)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def runner_of(model, **kwargs):
    return types.SimpleNamespace(model=model, logger=logging.getLogger('runtime-test'), iter=0,
                                 epoch=0, **kwargs)


def view(runner, batch=None):
    training = RunnerTraining(runner)
    training.begin(batch)
    return training


def test_channels_last_computes_the_same_and_its_checkpoint_fits_a_plain_model():
    # in float64: the layouts add the same products in another order
    x = torch.rand(2, 3, 15, 19, dtype=torch.float64)
    reference, model = Net().double(), Net().double()
    runner = runner_of(model)
    RuntimeOptionsHook(channels_last=True).before_run(runner)
    evidence = RuntimeEvidence(['channels_last'])
    evidence.start(view(runner))
    assert torch.allclose(model(x), reference(x), rtol=1e-9, atol=1e-12)
    model(x).square().sum().backward()
    reference(x).square().sum().backward()
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    finding = evidence.finding(view(runner))
    assert finding.live and finding.measured == (
        '2 of 2 convolutions channels-last, and so is the output of the first')
    evidence.close()
    fresh = Net().double()
    torch.nn.init.zeros_(fresh.head.weight)
    fresh.load_state_dict(model.state_dict())
    assert fresh.body[0].weight.is_contiguous()
    assert torch.allclose(fresh.eval()(x), model.eval()(x), rtol=1e-9, atol=1e-12)


def test_weights_that_stay_plain_are_reported():
    model = torch.nn.ModuleDict(dict(net=Net(), pool=mmcv.ops.RoIAlign(2)))
    runner = runner_of(model)
    RuntimeOptionsHook(channels_last=True).before_run(runner)  # sees RoIAlign, and refuses
    evidence = RuntimeEvidence(['channels_last'])
    evidence.start(view(runner))
    model['net'](torch.rand(2, 3, 15, 19))
    finding = evidence.finding(view(runner))
    assert finding.live is False and finding.measured == (
        '0 of 2 convolutions channels-last, and not the output of the first')


def test_tf32_is_on_during_the_run_and_back_afterwards(monkeypatch):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32)
    training = view(runner_of(Net()))
    evidence, hook = RuntimeEvidence(['tf32']), RuntimeOptionsHook(tf32=True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (7, 5))
    hook.before_run(runner_of(Net()))
    assert evidence.finding(training).live is None  # an older GPU
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (8, 6))
    assert evidence.finding(training).live is False
    hook.before_run(runner_of(Net()))
    assert evidence.finding(training).live is True
    hook.after_run(runner_of(Net()))
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before
    assert evidence.finding(training).live is all(before)  # switched off later


def test_cudnn_s_switch_and_pinned_batches_are_read_from_the_process(monkeypatch):
    evidence = RuntimeEvidence(['cudnn_benchmark', 'pin_memory'])
    training = view(runner_of(Net()), dict(inputs=[torch.zeros(3)]))
    assert evidence.finding(training).live is False  # the switch is off
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    evidence.before_iteration(training)
    assert evidence.finding(training).live is None  # no GPU to pin for
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    finding = evidence.finding(training)
    assert finding.live is False and 'the batch came unpinned' in finding.measured


def test_batches_that_are_pinned_no_more_are_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    pinned, evidence = [True], RuntimeEvidence(['pin_memory'])
    monkeypatch.setattr(torch.Tensor, 'is_pinned', lambda _: pinned[0])
    training = view(runner_of(Net()), dict(inputs=[torch.zeros(3)]))
    assert evidence.finding(training).live is None  # no batch yet
    evidence.before_iteration(training)
    assert evidence.finding(training).live is True
    pinned[0] = False
    for _ in range(15):
        evidence.before_iteration(training)
    assert evidence.finding(training).live is False


def test_a_layout_that_is_lost_is_found():
    model = Net().to(memory_format=torch.channels_last)
    evidence, training = RuntimeEvidence(['channels_last']), view(runner_of(model))
    evidence.start(training)
    model(torch.rand(2, 3, 15, 19))
    assert evidence.finding(training).live is True
    model.to(memory_format=torch.contiguous_format)
    model(torch.rand(2, 3, 15, 19))
    assert evidence.finding(training).measured == (
        '0 of 2 convolutions channels-last, and not the output of the first')
    assert evidence.finding(training).live is False


@pytest.mark.parametrize('kept', [True, False])
def test_workers_that_stay_are_read_from_the_loaders(kept):
    loader = Runner.build_dataloader(dict(
        dataset=[1, 2], num_workers=1, persistent_workers=kept, batch_size=1,
        sampler=dict(type='DefaultSampler', shuffle=False)))
    runner = runner_of(Net(), train_dataloader=loader)
    evidence = RuntimeEvidence(['persistent_workers'], ['train_dataloader', 'test_dataloader'])
    finding = evidence.finding(view(runner))
    assert finding.live is kept
    assert finding.measured == (f'{"workers stay for" if kept else "NOT for"} train_dataloader, '
                                'not built, or without workers: test_dataloader')


def test_a_loader_without_workers_keeps_none_and_is_no_fault():
    loader = Runner.build_dataloader(dict(
        dataset=[1, 2], batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False)))
    evidence = RuntimeEvidence(['persistent_workers'], ['train_dataloader'])
    assert evidence.finding(view(runner_of(Net(), train_dataloader=loader))).live is None


def test_what_is_present_is_measured_too(gpu):
    cfg = config([RESIZE], num_workers=2, persistent_workers=True, pin_memory=True)
    cfg['env_cfg'] = dict(cudnn_benchmark=True)
    verdict = planned(cfg, tf32=False)
    assert verdict.status == 'present'
    assert verdict.promise == dict(
        options=['cudnn_benchmark', 'persistent_workers', 'pin_memory'],
        loaders=['train_dataloader'])
