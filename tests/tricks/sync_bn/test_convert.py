"""Converting the layers of a model, and the arithmetic, in one process."""

from __future__ import annotations

import copy
import io
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tricks_plugin.common.sync_bn import (
    CrossRankBatchNorm,
    CrossRankBatchNormAct,
    survey,
    synchronize_batch_norms,
)
from tricks_plugin.tricks.sync_bn.functional import merge_moments, sync_bn_traffic

pytestmark = pytest.mark.slow


class WithActivation(nn.BatchNorm2d):
    """A BatchNorm that does more."""

    def forward(self, input):
        return super().forward(input).relu()


def model():
    return nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm2d(3, eps=0.02, momentum=None),
                         nn.BatchNorm3d(4, affine=False), WithActivation(5), nn.InstanceNorm2d(6),
                         nn.BatchNorm2d(7, track_running_stats=False))


def test_merging_two_parts_by_hand():
    # channel 0: 1, 3 and 8 -> mean 4, squares 9 + 1 + 16; channel 1: 0, 4 and -1 -> mean 1
    mean, variance, count = merge_moments(
        torch.tensor([[2.0, 2.0], [8.0, -1.0]]), torch.tensor([[2.0, 8.0], [0.0, 0.0]]),
        torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(mean, torch.tensor([4.0, 1.0]))
    torch.testing.assert_close(variance, torch.tensor([26.0 / 3, 14.0 / 3]))
    assert count == 3


def test_merging_ignores_empty_parts_and_survives_nothing_at_all():
    means = torch.tensor([[123.0], [5.0]])
    mean, variance, count = merge_moments(means, torch.tensor([[0.0], [6.0]]),
                                          torch.tensor([0.0, 3.0]))
    assert (mean.item(), variance.item(), count.item()) == (5.0, 2.0, 3.0)
    nothing = merge_moments(means, torch.zeros(2, 1), torch.zeros(2))
    assert [value.item() for value in nothing] == [0.0, 0.0, 0.0]


def test_merging_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'counts of shape \(parts,\), got \(2, 3\), \(2, 3\) and '
                                         r'\(3,\)'):
        merge_moments(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3))


def test_traffic_of_two_layers_by_hand():
    # 8 processes, 64 and 32 channels: 7 * (129 + 65) gathered, 2 * 7 / 8 * (128 + 64) reduced
    assert sync_bn_traffic([64, 32], 8) == (1358 + 336, 4)
    assert sync_bn_traffic([64, 32], 1) == (0, 0)
    with pytest.raises(ValueError, match=r'must be >= 1, got 0 and \[4\]'):
        sync_bn_traffic([4], 0)


def test_layers_become_synchronized_and_stay_the_objects_they_are():
    built = model().train()
    built[0].eval()
    layers, tensors = list(built), {**dict(built.named_parameters()), **dict(built.named_buffers())}
    keys, called = list(built.state_dict()), []
    built[1].register_forward_hook(lambda *_: called.append(1))
    found = synchronize_batch_norms(built)
    assert found.trains == ['1', '2', '5']
    assert found.left == {'0': 'frozen', '3': 'WithActivation has a forward of its own'}
    assert str(found) == 'converted 3, left 1: frozen; 1: WithActivation has a forward of its own'
    assert [type(layer) for layer in built] == [
        nn.BatchNorm1d, CrossRankBatchNorm, CrossRankBatchNorm, WithActivation, nn.InstanceNorm2d,
        CrossRankBatchNorm]
    assert all(old is new for old, new in zip(layers, built, strict=True))
    now = {**dict(built.named_parameters()), **dict(built.named_buffers())}
    assert list(now) == list(tensors) and all(now[name] is tensors[name] for name in now)
    assert list(built.state_dict()) == keys
    assert (built[1].eps, built[1].momentum, built[1].training) == (0.02, None, True)
    built.eval()[1](torch.ones(1, 3, 2, 2))
    assert called == [1]
    assert synchronize_batch_norms(built.train()).already == ['1', '2', '5']


def test_a_shared_layer_counts_once_and_fixed_weights_do_not_matter():
    layer = nn.BatchNorm2d(3).requires_grad_(False)
    assert survey(nn.ModuleList([layer, layer])).trains == ['0']


def test_layers_off_the_cpu_become_torchs_own():
    built = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3, eps=0.03)).to('meta')
    group = object()
    synchronize_batch_norms(built, group)
    assert type(built[1]) is nn.SyncBatchNorm
    assert (built[1].process_group, built[1].eps, built[1].num_features) == (group, 0.03, 3)
    assert type(built[1])(3).__dict__.keys() == built[1].__dict__.keys()


def test_a_layer_without_tensors_follows_the_model():
    built = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3, affine=False,
                                                             track_running_stats=False))
    synchronize_batch_norms(built.to('meta'))
    assert type(built[1]) is nn.SyncBatchNorm


def test_timms_norms_keep_their_activation():
    layers = pytest.importorskip('timm.layers')
    for device, kind in (('cpu', CrossRankBatchNormAct), ('meta', layers.SyncBatchNormAct)):
        built = nn.Sequential(layers.BatchNormAct2d(3, act_layer=nn.SiLU)).to(device)
        act, keys = built[0].act, list(built.state_dict())
        assert synchronize_batch_norms(built).trains == ['0']
        assert type(built[0]) is kind and built[0].act is act and list(built.state_dict()) == keys
    built = nn.Sequential(layers.BatchNormAct2d(2, eps=0.21))  # a variance of 1
    synchronize_batch_norms(built)
    values = torch.tensor([[[[-2.2]], [[3.3]]]])
    assert built.eval()(values).flatten().tolist() == pytest.approx([0.0, 3.0])


def test_lazy_layers_and_replaced_forwards_are_left():
    built = nn.Sequential(nn.LazyBatchNorm2d(), nn.BatchNorm2d(2))
    built[1].forward = lambda input: input
    found = synchronize_batch_norms(built)
    assert not found.trains
    assert found.left == {'0': 'LazyBatchNorm2d has no parameters before its first forward',
                          '1': 'BatchNorm2d has a forward of its own'}


def test_a_converted_model_can_be_copied_saved_and_evaluated_as_before():
    torch.manual_seed(2)
    built = nn.Sequential(nn.BatchNorm2d(3))
    for _ in range(3):
        built(torch.randn(4, 3, 5, 5) + 2)
    values = torch.randn(2, 3, 4, 4)
    wanted = built.eval()(values)
    synchronize_batch_norms(built.train())
    stream = io.BytesIO()
    torch.save(built, stream)
    stream.seek(0)
    for other in (built, copy.deepcopy(built), torch.load(stream, weights_only=False)):
        assert type(other[0]) is CrossRankBatchNorm
        assert torch.equal(other.eval()(values), wanted)


class Log:
    """A logger that keeps its lines."""

    def __init__(self):
        self.lines = []

    def info(self, line):
        self.lines.append(('info', line))

    def warning(self, line):
        self.lines.append(('warning', line))


def hook_on(built):
    pytest.importorskip('mmengine')
    from tricks_plugin.tricks.sync_bn.hook import SyncBatchNormHook
    runner = SimpleNamespace(model=built, logger=Log())
    SyncBatchNormHook().before_train(runner)
    return runner.logger.lines


class Backbone(nn.Module):
    """Keeps its norm in eval mode, as mmdet's backbones do under norm_eval."""

    def __init__(self, norm_eval):
        super().__init__()
        self.norm, self.norm_eval = nn.BatchNorm2d(3), norm_eval

    def train(self, mode=True):
        super().train(mode)
        self.norm.train(mode and not self.norm_eval)
        return self


def test_the_hook_asks_the_model_which_layers_train_and_restores_its_mode():
    built = nn.Sequential(Backbone(norm_eval=True), Backbone(norm_eval=False)).eval()
    built[0].norm.train()
    modes = [item.training for item in built.modules()]
    assert hook_on(built) == [('info', 'SyncBatchNormHook: one process holds the whole batch, '
                                       'nothing to synchronize (1 BN layers train, left 1: '
                                       'frozen)')]
    assert [item.training for item in built.modules()] == modes
    assert type(built[1].norm) is nn.BatchNorm2d


def test_the_hook_warns_where_nothing_trains():
    assert hook_on(nn.Sequential(Backbone(norm_eval=True), nn.Conv2d(3, 3, 1))) == [
        ('warning', 'SyncBatchNormHook: no BN layer trains: converted 0, left 1: frozen')]


def test_the_hook_refuses_processes_that_do_not_know_of_each_other(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '4')
    with pytest.raises(RuntimeError, match=r'WORLD_SIZE=4 processes were started, but the process '
                                           r'group is not initialised.*--launcher pytorch'):
        hook_on(nn.Sequential(nn.BatchNorm2d(3)))
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert hook_on(nn.Sequential(nn.BatchNorm2d(3)))[0][0] == 'info'
