"""Mixed precision: the choice, the edit, and what layers compute in."""

from __future__ import annotations

import logging
import types

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from tricks_plugin import BFloat16OptimWrapper
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.plan import RunFacts
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks import amp
from tricks_plugin.tricks.amp import device as machine_device
from tricks_plugin.tricks.amp.evidence import AutocastEvidence
from tricks_plugin.tricks.amp.functional import pick_dtype


@pytest.mark.parametrize(('device', 'has', 'half_only', 'want'), [
    ('cuda', True, False, 'bfloat16'), ('cuda', True, True, 'float16'),
    ('cuda', False, False, 'float16'), ('cpu', True, False, 'bfloat16'),
    ('cpu', True, True, None), ('mps', True, False, None),
])
def test_the_format_follows_from_device_and_model(device, has, half_only, want):
    assert pick_dtype(device, has, half_only) == want


@pytest.fixture()
def machine(monkeypatch):
    def be(device, has=True):
        monkeypatch.setattr(machine_device, 'kind', lambda: device)
        monkeypatch.setattr(machine_device, 'has_bfloat16', lambda _: has)
    be('cpu')
    return be


def planned(zoo, name, **params):
    cfg = plain(Config.fromfile(zoo / name))
    verdict = amp.Amp.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        assert amp.Amp.from_dict(params).apply(cfg).status == 'present'
    return cfg, verdict


YOLO = 'yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py'


def test_yolov3_trains_in_bfloat16_on_a_cpu_and_keeps_its_clipping(zoo, machine):
    cfg, verdict = planned(zoo, YOLO)
    assert cfg['optim_wrapper']['type'] == 'tricks_plugin.BFloat16OptimWrapper'
    assert cfg['optim_wrapper']['clip_grad'] == dict(max_norm=35, norm_type=2)
    assert verdict.promise == {}
    assert 'bfloat16 on this machine (CPU)' in verdict.reason


@pytest.mark.parametrize(('name', 'part'), [
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'SingleRoIExtractor'),
    ('fcos/fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
     'model.backbone.dcn'),
    ('dino/dino-4scale_r50_8xb2-12e_coco.py', 'DINO'),
])
def test_models_with_mmcv_s_operations_get_float16_on_a_gpu_and_a_reason_on_a_cpu(
        zoo, machine, name, part):
    _, verdict = planned(zoo, name)
    assert verdict.status == 'not_applicable'
    assert f'{part} uses a compiled operation' in verdict.reason
    machine('cuda')
    cfg, verdict = planned(zoo, name)
    assert cfg['optim_wrapper']['type'] == 'AmpOptimWrapper'
    assert 'dynamic loss scaling' in verdict.reason


def test_focal_loss_is_such_an_operation_on_a_gpu_only(zoo, machine):
    name = 'retinanet/retinanet_r50_fpn_1x_coco.py'
    assert planned(zoo, name)[1].reason.startswith('bfloat16 ')
    machine('cuda')
    assert planned(zoo, name)[1].reason.startswith('float16 ')


def test_an_old_gpu_gets_float16(zoo, machine):
    machine('cuda', has=False)
    _, verdict = planned(zoo, YOLO)
    assert 'since this device has no bfloat16' in verdict.reason
    _, verdict = planned(zoo, YOLO, dtype='bfloat16')
    assert verdict.status == 'not_applicable' and 'no bfloat16' in verdict.reason


def test_float16_on_a_cpu_is_refused_with_the_reason(zoo, machine):
    _, verdict = planned(zoo, YOLO, dtype='float16')
    assert verdict.status == 'not_applicable'
    assert verdict.reason == 'float16 needs a GPU, and this machine trains on the CPU'


def test_a_config_with_amp_or_a_strategy_is_left_alone(zoo, machine):
    cfg, verdict = planned(zoo, 'faster_rcnn/faster-rcnn_r50_fpn_amp-1x_coco.py')
    assert verdict.reason == 'optim_wrapper is AmpOptimWrapper'
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), strategy=dict(type='X'))
    assert amp.Amp.from_dict({}).apply(cfg).status == 'not_applicable'
    cfg = dict(optim_wrapper=dict(type='Mine', optimizer=dict(type='SGD', lr=0.1)))
    assert amp.Amp.from_dict({}).apply(cfg).reason == (
        'optim_wrapper is Mine, which decides over the precision itself (Mine is not registered or '
        'importable here, and was not looked into)')


def wrapped(**wrappers):
    optimizer = dict(type='SGD', lr=0.1)
    return dict(optim_wrapper=dict(constructor='Gan', **{
        name: dict(optimizer=dict(optimizer), **one) for name, one in wrappers.items()}))


def test_of_two_wrappers_only_the_one_in_float32_is_exchanged(machine):
    half = dict(type='AmpOptimWrapper', loss_scale=512.0, accumulative_counts=3)
    cfg = wrapped(a=half, b=dict(accumulative_counts=2))
    verdict = amp.Amp.from_dict({}).apply(cfg)
    assert verdict.status == 'applied'
    assert verdict.reason.endswith('; optim_wrapper.a is AmpOptimWrapper')
    assert cfg['optim_wrapper']['a'] == dict(half, optimizer=dict(type='SGD', lr=0.1))
    assert cfg['optim_wrapper']['b'] == dict(
        type='tricks_plugin.BFloat16OptimWrapper', accumulative_counts=2,
        optimizer=dict(type='SGD', lr=0.1))


def test_a_format_of_the_users_own_stays_and_is_said(machine):
    cfg = dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic',
                                  optimizer=dict(type='SGD', lr=0.1)))
    assert amp.Amp.from_dict({}).apply(cfg).reason == \
        'optim_wrapper is AmpOptimWrapper with dtype float16'
    verdict = amp.Amp.from_dict({'dtype': 'bfloat16'}).apply(cfg)
    assert verdict.status == 'present' and verdict.promise == {}
    assert verdict.reason.endswith('and stays so: the bfloat16 asked for is not set')
    cfg['optim_wrapper'].update(type='ApexOptimWrapper', opt_level='O0')
    assert amp.Amp.from_dict({}).apply(cfg).status == 'not_applicable'


def test_a_wrong_format_is_refused():
    with pytest.raises(TrickError, match="dtype must be one of .*, got 'fp8'"):
        amp.Amp.from_dict({'dtype': 'fp8'})


def test_timm_gets_its_own_flags(machine):
    assert amp.Amp.from_dict({}).timm_args({'device': 'cpu'}) == {
        'amp': True, 'amp_dtype': 'bfloat16'}
    half = amp.Amp.from_dict({'dtype': 'float16'})
    assert half.timm_args({'device': 'cuda:1'}) == {'amp': True, 'amp_dtype': 'float16'}
    assert half.timm_args({}) == 'float16 needs a GPU, and this machine trains on the CPU'
    assert amp.Amp.from_dict({}).timm_args({'device': 'mps'}) == 'no 16-bit format is known for MPS'
    machine('cuda', has=False)
    assert amp.Amp.from_dict({}).timm_args({})['amp_dtype'] == 'float16'
    assert amp.Amp.from_dict({'dtype': 'bfloat16'}).timm_args({}) == \
        'this CUDA device has no bfloat16'
    assert amp.Amp.from_dict({}).timm_args({'model_dtype': 'bfloat16'}) == \
        'AMP needs a float32 model, and --model-dtype is bfloat16'


@pytest.mark.parametrize(('flags', 'slow'), [
    ({'avx', 'avx2'}, True), ({'avx512f', 'avx512_bf16'}, False), ({'asimd', 'bf16'}, False),
    (set(), False)])  # a system that does not tell
def test_a_cpu_without_16_bit_units_is_too_slow_for_a_recipe(machine, monkeypatch, flags, slow):
    monkeypatch.setattr(machine_device, '_instructions', lambda: frozenset(flags))
    trick, facts = amp.Amp.from_dict({}), RunFacts()
    reason = 'this CPU has no instructions for bfloat16' if slow else None
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), model=dict(type='X'))
    found = [trick.config_pays(cfg, facts), trick.timm_pays({'device': 'cpu'}, facts)]
    assert [None if one is None else one.partition(' (')[0] for one in found] == [reason] * 2
    assert trick.timm_pays({'device': 'cuda'}, facts) is None
    assert trick.timm_pays({'device': 'cpu', 'bfloat16': True}, facts) is None  # another machine's
    assert trick.apply(cfg).status == 'applied'  # by its name
    machine('cuda')
    assert trick.config_pays(cfg, facts) is None


class Regression(BaseModel):
    """Two layers; the loss sums in float32 whatever the layers give."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.top = torch.nn.Linear(4, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        out = self.top(self.conv(inputs).relu().mean((2, 3)))
        return dict(loss=(out.float() ** 2).mean(), out=out) if mode == 'loss' else out


def run(wrapper_class, steps=3):
    model = Regression().train()
    wrapper = wrapper_class(torch.optim.SGD(model.parameters(), lr=0.1))
    runner = types.SimpleNamespace(model=model, optim_wrapper=wrapper,
                                   logger=logging.getLogger('amp-test'))
    training, evidence = RunnerTraining(runner), AutocastEvidence()
    evidence.start(training)
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    losses = [float(model.train_step(dict(inputs=inputs), wrapper)['loss']) for _ in range(steps)]
    finding = evidence.finding(training)
    evidence.close()
    assert not model.conv._forward_hooks
    return model, finding, losses


def test_the_wrapper_computes_in_bfloat16_and_keeps_weights_and_gradients_in_float32():
    model, finding, losses = run(BFloat16OptimWrapper)
    assert finding.live and finding.measured == '6 outputs in bfloat16'
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)).optim_context(model):
        model(torch.randn(2, 3, 8, 8))['loss'].backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    exact = run(OptimWrapper)[2]
    assert losses == pytest.approx(exact, rel=0.02) and losses != exact
    assert losses[2] < losses[0]


def test_the_evidence_says_so_when_nothing_is_cast():
    finding = run(OptimWrapper)[1]
    assert finding.live is False and finding.measured == '6 outputs in float32'


def test_autocast_that_is_left_after_a_good_start_is_found():
    model = Regression().train()
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    training = RunnerTraining(types.SimpleNamespace(model=model, optim_wrapper=wrapper))
    evidence = AutocastEvidence()
    evidence.start(training)
    inputs = dict(inputs=torch.randn(2, 3, 8, 8))
    model.train_step(inputs, wrapper)
    assert evidence.finding(training).live is True
    plain_wrapper = OptimWrapper(wrapper.optimizer)
    model.train_step(inputs, plain_wrapper)
    finding = evidence.finding(training)
    assert finding.live is False and finding.measured.endswith('; the latest in float32')


def test_a_head_in_float32_on_purpose_is_no_fault():
    model = Regression().train()
    forward = model.top.forward
    model.top.forward = lambda value: torch.nn.functional.linear(
        value.double(), model.top.weight.double(), model.top.bias.double())
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    training = RunnerTraining(types.SimpleNamespace(model=model, optim_wrapper=wrapper))
    evidence = AutocastEvidence()
    evidence.start(training)
    with torch.autocast('cpu', torch.bfloat16):
        model(torch.randn(2, 3, 8, 8))
    model.top.forward = forward
    assert evidence.finding(training).live is True
    assert evidence.finding(training).values['outputs'] == {'bfloat16': 1, 'float64': 1}
