"""What the evidence says, in a timm training, of the model, the optimizer and the average."""

from __future__ import annotations

import contextlib
import functools
import types

import numpy as np
import pytest
import timm
import torch
from support.timm_evidence import Toy, build, found, train, watched
from torch import nn


def resnet(**kwargs):
    """A ResNet-D of four blocks."""
    return timm.create_model('test_resnet', num_classes=5, **kwargs)


def test_measuring_changes_no_weight_and_draws_no_number():
    flags = dict(model_ema=True, channels_last=True, amp=True, weight_decay=0.01)
    runs, draws = [], []
    for rank in (0, 1):
        run = build(rank=rank, **flags)
        np.random.seed(5)
        evidence = train(run, 'zero_gamma', epochs=2)
        assert set(evidence.monitor.measurements) >= ({
            'zero_gamma', 'no_bias_decay', 'ema', 'amp', 'runtime'} if rank == 0 else set())
        evidence.close()
        runs.append(run)
        draws.append((float(torch.rand(1)), float(np.random.rand())))
    assert draws[0] == draws[1]
    for mine, other in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(mine, other)
    assert not any(part._forward_hooks for part in runs[0].model.modules())


def test_decay_is_counted_per_parameter():
    # Toy: a convolution and a linear weight decay; norm weight and bias and one bias do not.
    finding = found(train(build(weight_decay=0.05), epochs=1), 'no_bias_decay')
    assert finding.live is True
    assert finding.measured == ('3 of 3 bias and norm parameters without decay; '
                                '2 others decay 0.05')


def test_decay_on_biases_is_dead_and_without_any_there_is_no_row():
    run = build(weight_decay=0.05, opt_kwargs=dict(filter_bias_and_bn=False))
    assert 'no_bias_decay' not in watched(run).monitor.measurements
    finding = found(train(run, 'no_bias_decay', epochs=1), 'no_bias_decay')
    assert finding.live is False
    assert finding.values['wrongly_decayed'] == ['bn.weight', 'bn.bias', 'fc.bias']
    assert 'no_bias_decay' not in watched(
        build(weight_decay=0.0), 'no_bias_decay').monitor.measurements


def groups(run, decays):
    return next(group for group in run.optimizer.param_groups
                if bool(group['weight_decay']) is decays)


def test_biases_that_decay_later_and_weights_that_stop_to_are_found():
    run = build(weight_decay=0.05)
    evidence = train(run, epochs=1)
    assert found(evidence, 'no_bias_decay').live is True
    groups(run, False)['weight_decay'] = 0.01
    assert found(evidence, 'no_bias_decay').live is False
    run = build(weight_decay=0.05)
    evidence = train(run, epochs=1)
    run.optimizer.add_param_group({'params': [groups(run, True)['params'].pop()],
                                   'weight_decay': 0.0})
    finding = found(evidence, 'no_bias_decay')
    assert finding.live is False and finding.values['lost_decay'] == ['fc.weight']


def test_another_decay_than_at_the_start_is_no_fault():
    run = build(weight_decay=0.05)
    evidence = train(run, epochs=1)
    groups(run, True)['weight_decay'] = 0.3
    finding = found(evidence, 'no_bias_decay')
    assert finding.live is True and finding.values['decays'] == [0.3]


def test_parameters_that_the_model_itself_exempts_are_no_fault():
    model = timm.create_model('test_vit', num_classes=5)
    finding = found(watched(build(model=model, weight_decay=0.05)), 'no_bias_decay')
    assert finding.live is True and finding.values['others_not_decayed'] == []


@pytest.mark.parametrize(('zero', 'live', 'count'), [(True, True, 4), (False, False, 0)])
def test_zero_scales_are_counted_before_the_first_update(zero, live, count):
    run = build(model=resnet(zero_init_last=zero))
    finding = found(train(run, 'zero_gamma', epochs=1, side=32), 'zero_gamma')
    assert finding.live is live
    assert (finding.values['residual_branches'], finding.values['zero']) == (4, count)


def test_zeros_that_something_fills_before_the_first_forward_pass_are_found():
    run = build(model=resnet(zero_init_last=True))

    def fill(index):
        if index == 0:
            for parameter in run.model.parameters():
                nn.init.constant_(parameter, 0.5)
    finding = found(train(run, 'zero_gamma', epochs=1, side=32, meddle=fill), 'zero_gamma')
    assert finding.live is False and finding.values['zero'] == 0


def test_zeros_that_stay_are_dead_after_twenty_updates():
    run = build(model=resnet(zero_init_last=True), updates_per_epoch=20)
    evidence = train(run, 'zero_gamma', epochs=1, side=32)
    assert found(evidence, 'zero_gamma').values['grown'] == 4
    assert found(evidence, 'zero_gamma').live is True
    run = build(model=resnet(zero_init_last=True))
    evidence = watched(run, 'zero_gamma')
    evidence.monitor.measurements['zero_gamma'].before_iteration(evidence.training)
    evidence.training.updates = 19
    assert found(evidence, 'zero_gamma').live is True
    evidence.training.updates = 20
    finding = found(evidence, 'zero_gamma')
    assert finding.live is False and finding.values['grown'] == 0


def test_loaded_weights_have_no_start_to_tell_of():
    run = build(model=resnet(), resume='last.pth.tar', model_kwargs=dict(zero_init_last=True))
    finding = found(watched(run), 'zero_gamma')
    assert finding.live is None and finding.measured == 'weights were loaded (resume)'
    run.args.pretrained = True
    assert 'zero_gamma' not in watched(run).monitor.measurements


def test_the_variant_of_a_resnet_is_read_from_its_layers():
    for name, live in (('resnet18d.ra2_in1k', True), ('resnet18', False), ('resnet50c', False)):
        run = build(model=resnet())
        run.args.model = name
        evidence = watched(run, 'resnet_d')
        evidence.start()
        assert found(evidence, 'resnet_d').live is live
    run.args.model = 'vit_tiny_patch16_224'
    assert 'resnet_d' not in watched(run, 'resnet_d').monitor.measurements


def test_a_stem_that_is_exchanged_later_is_found():
    run = build(model=resnet())
    run.args.model = 'resnet18d'
    evidence = watched(run, 'resnet_d')
    evidence.start()
    assert found(evidence, 'resnet_d').live is True
    run.model.conv1 = nn.Conv2d(3, 32, 7, stride=2)
    assert found(evidence, 'resnet_d').live is False


def bfloat16():
    return functools.partial(torch.autocast, 'cpu', torch.bfloat16)


def test_amp_is_read_from_layers_outputs():
    run = build(amp=True, amp_dtype='bfloat16')
    run.autocast = bfloat16()
    finding = found(train(run, epochs=1), 'amp')
    assert finding.live is True and finding.values['outputs'] == {'bfloat16': 8}
    finding = found(train(build(amp=True, amp_dtype='bfloat16'), epochs=1), 'amp')
    assert finding.live is False and finding.values['outputs'] == {'float32': 8}


def test_autocast_that_is_left_later_is_found():
    run = build(amp=True, amp_dtype='bfloat16')
    run.autocast = bfloat16()

    def leave(index):
        if index == 3:
            run.autocast = contextlib.nullcontext
    finding = found(train(run, epochs=1, meddle=leave), 'amp')
    assert finding.live is False and finding.measured.endswith('; the latest in float32')


def test_amp_in_a_compiled_model_is_read_beside_it():
    run = build(amp=True, amp_dtype='bfloat16', torchcompile='inductor')
    assert found(watched(run), 'amp').live is False
    run.autocast = bfloat16()
    finding = found(watched(run), 'amp')
    assert finding.live is True
    assert finding.measured.endswith('a product in its context comes out in bfloat16')


class SkippingScaler:
    """Skips every second step, as timm's scaler does where a gradient is not finite."""

    def __init__(self):
        self.calls = 0

    def step(self, optimizer):
        self.calls += 1
        if self.calls % 2:
            optimizer.step()

    def state_dict(self):
        return {'scale': 512.0}


def test_skipped_updates_are_counted():
    run = build(amp=True, amp_dtype='float16', updates_per_epoch=5)
    run.loss_scaler = SkippingScaler()
    evidence = watched(run)
    evidence.start()
    for _ in range(5):
        evidence.on_batch(0, torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))
        run.loss_scaler.step(run.optimizer)
        evidence.after_batch(torch.zeros(()))
    finding = found(evidence, 'amp')
    assert finding.measured.endswith('loss scale 512, 2 of 5 updates skipped')


WARM = dict(model_ema=True, model_ema_warmup=True)


def test_an_average_follows_timms_formula():
    for flags in (WARM, dict(model_ema=True), dict(model_ema=True, model_ema_decay=0.5),
                  dict(WARM, grad_accum_steps=3), dict(WARM, start_epoch=2)):
        finding = found(train(build(updates_per_epoch=6, **flags), epochs=3), 'ema')
        assert finding.live is True, (flags, finding.measured)
        assert finding.values['deviation'] < 1e-6 and finding.values['distance'] > 0


def test_an_average_whose_memory_is_longer_than_the_run_is_said_to_be_useless():
    finding = found(train(build(model_ema=True, updates_per_epoch=10, epochs=3), epochs=1), 'ema')
    assert finding.live is True
    # 0.9998 ** 29 = 0.994217
    assert finding.values['first_weights_at_the_end'] == pytest.approx(0.994217, abs=1e-6)
    assert 'memory of 5000 updates in a run of 30, too long to be of use: at the end 99.4 % of ' \
        'it would be the first weights' in finding.measured
    finding = found(train(build(**WARM, updates_per_epoch=10, epochs=3), epochs=1), 'ema')
    assert 'too long' not in finding.measured


def test_an_average_that_meets_the_weights_in_the_end_stays_proved():
    run = build(**WARM)
    evidence = train(run, epochs=2)
    assert found(evidence, 'ema').live is True
    for group in run.optimizer.param_groups:
        group['lr'] = 0.0
    assert found(evidence, 'ema').live is True


def test_an_average_that_never_moves_or_equals_the_weights_or_is_infinite_is_dead():
    standing = found(train(build(model_ema=True, updates_per_epoch=20), epochs=1, average=False),
                     'ema')
    assert standing.live is False
    equal = found(train(build(model_ema=True, model_ema_decay=0.0), epochs=1), 'ema')
    assert equal.live is False and 'takes the weights as they are' in equal.measured
    broken = build(model_ema=True)
    evidence = train(broken, epochs=1)
    assert found(evidence, 'ema').live is True
    with torch.no_grad():
        broken.task.get_trainable_module(ema=True).module.fc.bias.fill_(float('nan'))
    assert found(evidence, 'ema').live is False


def test_no_average_at_all_is_dead():
    run = build(model_ema=True)
    run.task = types.SimpleNamespace(get_trainable_module=lambda ema: None)
    finding = found(watched(run), 'ema')
    assert finding.live is False and finding.measured == 'the trainer keeps no average'


@pytest.mark.parametrize('stop', [1, 2, 6])
def test_an_average_that_stops_after_a_good_start_is_dead(stop):
    run = build(**WARM, updates_per_epoch=8)
    follow = run.task.update_ema

    def freeze(index):
        run.task.update_ema = follow if index < stop else lambda step: None
    assert found(train(run, epochs=2, meddle=freeze), 'ema').live is False


def test_an_average_that_stops_after_a_report_is_dead_at_the_next():
    run = build(**WARM, updates_per_epoch=20)
    follow = run.task.update_ema

    def freeze(index):
        run.task.update_ema = follow if index < 40 else lambda step: None
    evidence = train(run, epochs=3, meddle=freeze)
    seen = [next(row['live'] for row in table['tricks'] if row['name'] == 'ema')
            for table in evidence.monitor._history]
    assert seen == [True, False]


def test_the_average_waits_for_the_first_update():
    run = build(**WARM, grad_accum_steps=4, updates_per_epoch=1, epochs=1)
    evidence = watched(run)
    evidence.start()
    for _ in range(3):
        evidence.on_batch(0, torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))
        evidence.after_batch(torch.zeros(()))
    finding = found(evidence, 'ema')
    assert finding.live is None and finding.measured == 'the average has not begun'


class Lazy(Toy):
    """With a parameter that nothing uses and one that is frozen, both smaller than the others."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(1))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)


def test_parameters_that_do_not_move_decide_nothing():
    finding = found(train(build(model=Lazy(), **WARM, weight_decay=0.0), epochs=1), 'ema')
    assert finding.live is True
    assert not {'unused', 'frozen'} & set(finding.values['watched'])
    assert any(name.startswith('bn.running') for name in finding.values['watched'])


@pytest.mark.parametrize(('world', 'convert', 'live'), [(1, False, True), (2, False, False),
                                                        (2, True, None)])
def test_batch_norms_are_counted_by_kind(world, convert, live):
    model = nn.SyncBatchNorm.convert_sync_batchnorm(Toy()) if convert else Toy()
    evidence = watched(build(model=model, sync_bn=True, world_size=world))
    evidence.on_batch(0, torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))
    finding = found(evidence, 'sync_bn')
    assert finding.live is live
    assert finding.values['synchronized'] == int(convert)
    assert finding.values['plain'] == int(not convert)


def test_channels_last_is_read_from_weights_and_output_and_may_be_lost():
    run = build(model=Toy().to(memory_format=torch.channels_last), channels_last=True)
    evidence = train(run, epochs=1)
    finding = found(evidence, 'runtime')
    assert finding.live is True and finding.measured == (
        '1 of 1 convolutions channels-last, and so is the output of the first')
    run.model.to(memory_format=torch.contiguous_format)
    assert found(evidence, 'runtime').live is False
    assert found(train(build(channels_last=True), epochs=1), 'runtime').live is False


def test_pinning_without_a_gpu_cannot_be_told():
    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU, which pins')
    finding = found(watched(build(pin_mem=True), 'runtime'), 'runtime')
    assert finding.live is None and finding.planned == 'pin_memory'


class Loader(list):
    """Four batches, and a flag."""

    pin_memory = True


def test_a_loader_that_stops_to_pin_is_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    run = build(pin_mem=True)
    run.loader_train = Loader(range(4))
    evidence = watched(run, 'runtime')
    on_device = torch.zeros(2, 3, 8, 8, device='meta')
    evidence.on_batch(0, on_device, torch.zeros(2, device='meta'))
    assert found(evidence, 'runtime').live is True
    run.loader_train.pin_memory = False
    evidence.on_batch(0, on_device, torch.zeros(2, device='meta'))
    assert found(evidence, 'runtime').live is False


def test_a_guard_that_sees_each_updates_loss_is_live_and_one_that_misses_some_is_dead():
    run = build(grad_accum_steps=2)
    evidence = train(run, 'finite_guard', epochs=1)  # 4 updates of 2 batches
    finding = found(evidence, 'finite_guard')
    assert finding.live is True and finding.values == {'watched': 4, 'updates': 4}
    assert finding.planned == 'stops after 10 updates in a row without a finite loss'
    run.watch.added -= 1
    assert found(evidence, 'finite_guard').live is False
    assert 'finite_guard' not in watched(run).monitor.measurements  # nobody asked for a row


def test_a_monitor_that_is_not_there_is_dead():
    finding = found(train(build(), 'data_monitor', epochs=1), 'data_monitor')
    assert finding.live is False and finding.measured == 'no monitor at work'
