"""What the evidence of a timm training says of the model, the optimizer and the images."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import timm
import torch
from timm_evidence_kit import Toy, build, found, plan_of, train
from torch import nn

from tricks_plugin.timm.evidence import TimmEvidence


def resnet(**kwargs):
    """A ResNet-D of four blocks."""
    return timm.create_model('test_resnet', num_classes=5, **kwargs)


def test_measuring_changes_no_weight_and_draws_no_number():
    flags = dict(mixup=0.2, smoothing=0.1, model_ema=True, channels_last=True, amp=True)
    runs, draws = [], []
    for rank in (0, 1):
        run = build(rank=rank, **flags)
        np.random.seed(5)
        evidence = train(run, 'zero_gamma', 'sync_bn', 'linear_lr', epochs=2)
        assert len(evidence.measurements) == (10 if rank == 0 else 0)
        evidence.close()
        runs.append(run)
        draws.append((float(torch.rand(1)), float(np.random.rand())))
    assert draws[0] == draws[1]
    for mine, other in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(mine, other)
    assert not any(part._forward_hooks for part in runs[0].model.modules())


@pytest.mark.parametrize(('flags', 'images', 'lr'), [
    (dict(batch_size=8, lr=0.003125, lr_base=0.1), 8, 0.003125),
    (dict(batch_size=8, grad_accum_steps=4, lr=0.0125), 32, 0.0125),
    (dict(batch_size=16, lr=0.025, lr_base_scale='sqrt'), 16, 0.025),
])
def test_the_images_behind_an_update_and_their_rate(flags, images, lr):
    finding = found(train(build(**flags), 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is True
    assert finding.values['images_per_update'] == images
    assert finding.values['lr_by_the_rule'] == pytest.approx(lr, rel=1e-12)


def test_a_rate_for_another_batch_is_dead():
    # Planned: 8 images, 0.1 * 8 / 256 = 0.003125.
    run = build(batch_size=8, lr=0.1)
    finding = found(train(run, 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is False and 'base LR 0.1' in finding.measured
    run = build(batch_size=8, lr=0.003125)
    run.args.batch_size = 6
    finding = found(train(run, 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is False
    assert finding.measured.startswith('6 images per update (1 process(es)), for which the rule')


def test_a_derived_rate_is_watched_without_a_plan_and_a_given_one_is_not():
    derived = build(lr=0.003125, lr_base_scale='linear')
    assert 'linear_lr' in TimmEvidence(derived).measurements
    assert 'linear_lr' not in TimmEvidence(build(lr=0.05)).measurements


def test_decay_is_counted_per_parameter():
    # Toy: a convolution and a linear weight decay; norm weight and bias and one bias do not.
    finding = found(train(build(weight_decay=0.05), epochs=1), 'no_bias_decay')
    assert finding.live is True
    assert finding.measured == ('3 of 3 bias and norm parameters without decay; '
                                '2 others decay 0.05')


def test_decay_on_biases_and_weights_without_decay_are_dead():
    run = build(weight_decay=0.05, opt_kwargs=dict(filter_bias_and_bn=False))
    assert 'no_bias_decay' not in TimmEvidence(run).measurements
    finding = found(train(run, 'no_bias_decay', epochs=1), 'no_bias_decay')
    assert finding.live is False
    assert finding.values['wrongly_decayed'] == ['bn.weight', 'bn.bias', 'fc.bias']
    run = build(weight_decay=0.05)
    group = next(group for group in run.optimizer.param_groups if group['weight_decay'])
    run.optimizer.add_param_group({'params': [group['params'].pop()], 'weight_decay': 0.0})
    finding = found(TimmEvidence(run), 'no_bias_decay')
    assert finding.live is False and finding.values['others_not_decayed'] == ['fc.weight']


def test_parameters_that_the_model_itself_exempts_are_no_fault():
    model = timm.create_model('test_vit', num_classes=5)
    finding = found(TimmEvidence(build(model=model, weight_decay=0.05)), 'no_bias_decay')
    assert finding.live is True and finding.values['others_not_decayed'] == []


@pytest.mark.parametrize(('zero', 'live', 'count'), [(True, True, 4), (False, False, 0)])
def test_zero_scales_are_counted_before_the_first_update(zero, live, count):
    run = build(model=resnet(zero_init_last=zero))
    evidence = TimmEvidence(run, plan_of('zero_gamma', status='present'))
    evidence.start()
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.fill_(0.5)
    finding = found(evidence, 'zero_gamma')
    assert finding.live is live
    assert (finding.values['residual_branches'], finding.values['zero']) == (4, count)


def test_loaded_weights_have_no_start_to_tell_of():
    run = build(model=resnet(), resume='last.pth.tar', model_kwargs=dict(zero_init_last=True))
    evidence = TimmEvidence(run)
    evidence.start()
    assert found(evidence, 'zero_gamma').live is None


def test_the_variant_of_a_resnet_is_read_from_its_layers():
    for name, live in (('resnet18d', True), ('resnet18', False)):
        run = build(model=resnet())
        run.args.model = name
        evidence = TimmEvidence(run, plan_of('resnet_d'))
        evidence.start()
        assert found(evidence, 'resnet_d').live is live


def test_amp_is_read_from_a_layers_output():
    run = build(amp=True, amp_dtype='bfloat16')
    run.autocast = functools.partial(torch.autocast, 'cpu', torch.bfloat16)
    finding = found(train(run, epochs=1), 'amp')
    assert finding.live is True and finding.values['outputs'] == {'bfloat16': 4}
    finding = found(train(build(amp=True, amp_dtype='bfloat16'), epochs=1), 'amp')
    assert finding.live is False and finding.values['outputs'] == {'float32': 4}


def test_amp_in_a_compiled_model_is_read_beside_it():
    run = build(amp=True, amp_dtype='bfloat16', torchcompile='inductor')
    assert found(TimmEvidence(run), 'amp').live is False
    run.autocast = functools.partial(torch.autocast, 'cpu', torch.bfloat16)
    finding = found(TimmEvidence(run), 'amp')
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
    run = build(amp=True, amp_dtype='float16')
    run.loss_scaler = SkippingScaler()
    evidence = TimmEvidence(run)
    evidence.start()
    for update in range(5):
        run.loss_scaler.step(run.optimizer)
        evidence.on_update(update)
    finding = found(evidence, 'amp')
    assert finding.measured.endswith('loss scale 512, 2 of 5 updates skipped')
    evidence.close()
    run.optimizer.step()
    assert finding.values['skipped'] == 2


def test_an_average_moves_and_stays_apart():
    finding = found(train(build(model_ema=True), epochs=1), 'ema')
    assert finding.live is True
    assert finding.values['moved'] == 5 and finding.values['relative_distance'] > 1e-6


def test_an_average_that_meets_the_weights_in_the_end_stays_proved():
    run = build(model_ema=True)
    evidence = train(run, epochs=1)
    run.task.get_trainable_module(ema=True).module.load_state_dict(run.model.state_dict())
    finding = found(evidence, 'ema')
    assert finding.live is True and finding.values['relative_distance'] == 0


def test_an_average_that_stands_or_equals_the_weights_or_is_infinite_is_dead():
    standing = build(model_ema=True, updates_per_epoch=20)
    finding = found(train(standing, epochs=1, average=False), 'ema')
    assert finding.live is False and finding.values['moved'] == 0
    assert found(train(build(model_ema=True, model_ema_decay=0.0), epochs=1), 'ema').live is False
    broken = build(model_ema=True)
    with torch.no_grad():
        broken.model.fc.bias.fill_(float('nan'))
    assert found(train(broken, epochs=1), 'ema').live is False
    assert found(train(build(), 'ema', epochs=1), 'ema').measured == 'the task has no average'


@pytest.mark.parametrize(('world', 'convert', 'live'), [(1, False, True), (2, False, False),
                                                        (2, True, True)])
def test_batch_norms_are_counted_by_kind(world, convert, live):
    model = nn.SyncBatchNorm.convert_sync_batchnorm(Toy()) if convert else Toy()
    evidence = TimmEvidence(build(model=model, sync_bn=True, world_size=world))
    evidence.on_batch(0, torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))
    finding = found(evidence, 'sync_bn')
    assert finding.live is live
    assert finding.values == {'synchronized': int(convert), 'plain': int(not convert),
                              'frozen': 0, 'processes': world}


def test_channels_last_is_read_where_the_images_arrive():
    model = Toy().to(memory_format=torch.channels_last)
    finding = found(train(build(model=model, channels_last=True), epochs=1), 'runtime')
    assert finding.live is True and finding.values['batches_channels_last'] == 1
    evidence = TimmEvidence(build(model=model, channels_last=True))
    evidence.start()
    evidence.on_batch(0, torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.long))
    finding = found(evidence, 'runtime')
    assert finding.live is False and '0 of 1 batches channels-last' in finding.measured
    assert found(train(build(channels_last=True), epochs=1), 'runtime').live is False


def test_pinning_without_a_gpu_is_dead():
    if torch.cuda.is_available():
        pytest.skip('this machine has a GPU, which pins')
    run = build(pin_mem=True)
    finding = found(TimmEvidence(run, plan_of('runtime')), 'runtime')
    assert finding.live is False and finding.planned == 'pin_mem'
