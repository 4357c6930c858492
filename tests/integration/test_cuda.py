"""The paths that a GPU takes. Each test runs on the CPU too, as far as the path exists there."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest
import torch
import torch.distributed as dist
from support.sums import tolerance
from torch import nn

from tricks_plugin.common.process_group import end_process_group
from tricks_plugin.common.sync_bn import CrossRankBatchNorm, synchronize_batch_norms
from tricks_plugin.tricks.runtime.evidence import RuntimeEvidence

pytestmark = pytest.mark.slow

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.cuda)]
HALF = {'cpu': 'bfloat16', 'cuda': 'float16'}


@pytest.mark.parametrize('device', DEVICES)
def test_timm_trains_in_16_bits_channels_last_from_its_prefetcher(device, tmp_path):
    from support.timm_train import TINY, write_images

    from tricks_plugin.timm import flags
    from tricks_plugin.timm.build import build_run
    from tricks_plugin.timm.evidence import TimmEvidence
    from tricks_plugin.timm.loop import train_epoch, validate
    from tricks_plugin.timm.progress import Progress
    from tricks_plugin.timm.settings import prepare
    write_images(tmp_path / 'train', 8)
    write_images(tmp_path / 'val', 2)
    pin = ['--pin-mem'] if device == 'cuda' else []
    args = flags.parse([str(tmp_path), *TINY, '--device', device, '--amp', '--amp-dtype',
                        HALF[device], '--channels-last', '--mixup', '0.2', *pin]).args
    args.val_split = 'val'
    run, quiet = build_run(*prepare(args)), Progress(1, shown=False)
    evidence = TimmEvidence(run, vars(args))
    seen = []
    look = evidence.on_batch
    evidence.on_batch = lambda epoch, *batch: seen.append(batch) or look(epoch, *batch)
    evidence.start()
    loss = train_epoch(run, 0, evidence, quiet)['loss']
    found = {name: evidence.monitor.measurements[name].finding(evidence.training)
             for name in ('amp', 'runtime', 'mixup')}
    evidence.close()
    assert 0 < loss < 20 and 0 < validate(run, quiet)['loss'] < 20
    assert len(seen) == 6 and {one.device.type for batch in seen for one in batch} == {device}
    assert {name: row.live for name, row in found.items()} == dict.fromkeys(found, True)
    assert set(found['amp'].values['outputs']) == {HALF[device]}
    assert {weight.dtype for weight in run.model.parameters()} == {torch.float32}
    if device == 'cuda':
        assert found['runtime'].values['pin_memory'] is True
        scale, = found['amp'].values['loss_scales']
        # timm's scaler begins with 2^16, and halves it at each of the updates that it skips
        assert scale == 2 ** 16 / 2 ** found['amp'].values['skipped']
    else:
        assert run.loss_scaler is None


@pytest.mark.slow
@pytest.mark.parametrize('device', DEVICES)
def test_mmengine_trains_in_16_bits_with_mixed_images_and_the_runtime_s_options(
        device, tmp_path, root, monkeypatch):
    pytest.importorskip('mmdet')
    from mmengine.config import Config

    from tricks_plugin import TricksRunner
    subprocess.run([sys.executable, root / 'examples' / 'make_digits.py', '--out',
                    tmp_path / 'digits',
                    '--train', '8', '--val', '2'], check=True, capture_output=True)
    monkeypatch.setenv('DIGITS_ROOT', f'{tmp_path / "digits"}/')
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    cfg = Config.fromfile(root / 'configs' / 'demo' / 'yolov3_digits.py')
    cfg.merge_from_dict(dict(
        work_dir=str(tmp_path / 'work'), experiment_name=tmp_path.name,
        train_cfg=dict(max_epochs=2),
        train_dataloader=dict(batch_size=4, num_workers=1), val_dataloader=None, val_cfg=None,
        val_evaluator=None, test_dataloader=None, test_cfg=None, test_evaluator=None,
        tricks=dict(amp=dict(dtype=HALF[device]), runtime=True, mixup=dict(off_epochs=1),
                    strict=True)))
    TricksRunner.from_cfg(cfg).train()
    rows = {row['name']: row for row in json.loads(
        (tmp_path / 'work' / 'tricks_evidence.json').read_text())['tricks']}
    assert {name: row['live'] for name, row in rows.items()} == dict.fromkeys(
        ('amp', 'runtime', 'mixup'), True)
    assert set(rows['amp']['values']['outputs']) == {HALF[device]}
    assert len(rows['amp']['values']['loss_scales']) == (device == 'cuda')
    assert rows['mixup']['values']['weighted_positives'] > 0
    wanted = {'channels_last'}
    if device == 'cuda':
        wanted |= {'pin_memory'} | ({'tf32'} if torch.cuda.get_device_capability() >= (8, 0)
                                    else set())
    assert wanted <= set(rows['runtime']['values'])
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


@pytest.mark.parametrize('device', DEVICES)
def test_the_evidence_tells_pinned_batches_from_others(device):
    pin = device == 'cuda'
    loader = torch.utils.data.DataLoader(torch.zeros(4, 3), batch_size=2, pin_memory=pin)
    evidence = RuntimeEvidence(['pin_memory'])
    training = types.SimpleNamespace(batch=dict(inputs=[next(iter(loader))]), loaders={})
    evidence.before_iteration(training)
    assert evidence.finding(training).live is (True if pin else None)


@pytest.mark.parametrize('device', DEVICES)
def test_a_synchronized_norm_alone_in_its_group_is_a_plain_one(device, tmp_path):
    backend, kind = ('nccl', nn.SyncBatchNorm) if device == 'cuda' else ('gloo', CrossRankBatchNorm)
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3).to(device)
    values = torch.randn(4, 3, 5, 2).to(device)
    factors = torch.randn(4, 3, 5, 2).to(device)
    built = nn.Sequential(nn.BatchNorm2d(3)).to(device)
    results = []
    dist.init_process_group(backend, init_method=f'file://{tmp_path / "store"}', rank=0,
                            world_size=1)
    try:
        assert synchronize_batch_norms(built).trains == ['0'] and type(built[0]) is kind
        for model in (built[0], plain):
            fed = values.clone().requires_grad_()
            output = model(fed)
            (output * factors).sum().backward()
            results.append((output.detach(), fed.grad, model.running_mean, model.running_var))
    finally:
        end_process_group()
    for found, wanted in zip(*results, strict=True):  # of 40 values a channel
        torch.testing.assert_close(found, wanted, rtol=0,
                                   atol=tolerance(40, 4 * float(wanted.abs().max())))


@pytest.mark.parametrize('device', DEVICES)
def test_mixup_s_weights_reach_the_losses_of_tensors_there(device):
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules
    from mmengine.logging import MMLogger
    from mmengine.structures import InstanceData

    from tricks_plugin import MixUpWeightingHook
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(bbox_head=MODELS.build(dict(
        type='FCOSHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1,
        norm_cfg=None)))).to(device)
    hook = MixUpWeightingHook()
    hook.before_train(types.SimpleNamespace(
        model=model, logger=MMLogger.get_instance('cuda-test'),
        train_dataloader=types.SimpleNamespace(dataset=types.SimpleNamespace(pipeline=[]))))
    maps = [torch.randn(1, 8, 128 // s, 128 // s, device=device) for s in (8, 16, 32, 64, 128)]

    def loss(weight):
        instances = InstanceData(bboxes=torch.tensor([[8., 8., 90., 100.]]),
                                 labels=torch.tensor([1]), mixup_weights=torch.tensor([weight]))
        sample = DetDataSample(gt_instances=instances, metainfo=dict(img_shape=(128, 128)))
        return model['bbox_head'].loss(maps, [sample.to(device)])

    whole, half = loss(1.0), loss(0.5)
    assert hook.weighted_positives > 0
    assert {value.device.type for value in half.values()} == {device}
    # FCOS averages over its positives, and a weight of a half is in each of their terms
    assert float(half['loss_centerness']) == pytest.approx(
        float(whole['loss_centerness']) / 2, rel=1e-4)
    assert float(half['loss_cls']) < float(whole['loss_cls'])
