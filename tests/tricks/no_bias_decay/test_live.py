from __future__ import annotations

import types

import pytest
import torch
from torch import nn

pytest.importorskip('mmengine')
from mmengine.config import ConfigDict  # noqa: E402
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper  # noqa: E402

import tricks_plugin.tricks.backbone_lr.constructor  # noqa: E402, F401
import tricks_plugin.tricks.no_bias_decay.constructor  # noqa: E402, F401
from tricks_plugin.mm.training import RunnerTraining  # noqa: E402
from tricks_plugin.tricks.no_bias_decay import NoBiasDecay  # noqa: E402
from tricks_plugin.tricks.no_bias_decay.evidence import DecayEvidence  # noqa: E402

OURS = 'NoBiasDecayOptimWrapperConstructor'
PLAIN = {'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0}
CUSTOM = {'custom_keys': {'backbone': {'lr_mult': 0.1, 'decay_mult': 0.5},
                          'backbone.bn': {'lr_mult': 0.2}}}


class Net(nn.Module):
    """A backbone with a frozen layer, and a head with attention."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({
            'stem': nn.Conv2d(3, 4, 3), 'bn': nn.BatchNorm2d(4), 'depthwise': nn.Conv2d(4, 4, 3,
                                                                                        groups=4)})
        self.backbone['stem'].requires_grad_(False)
        self.head = nn.ModuleDict({'fc': nn.Linear(4, 2), 'attention': nn.MultiheadAttention(4, 2)})


def build(model, paramwise, constructor=None):
    cfg = {'optimizer': {'type': 'SGD', 'lr': 0.2, 'weight_decay': 0.04},
           'paramwise_cfg': paramwise}
    if constructor:
        cfg['constructor'] = constructor
    return build_optim_wrapper(model, ConfigDict(cfg))


def settings(model, optim):
    """(lr, weight decay) by parameter name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: (pytest.approx(group['lr']), group['weight_decay'])
            for group in optim.optimizer.param_groups for parameter in group['params']}


def measure(model, optim):
    return watch(model, optim)()


def watch(model, optim):
    """What the evidence that starts now will find."""
    training = RunnerTraining(types.SimpleNamespace(model=model, optim_wrapper=optim))
    evidence = DecayEvidence()
    evidence.start(training)
    return lambda: evidence.finding(training)


def test_custom_keys_and_the_exemption_are_both_in_force():
    model = Net()
    assert settings(model, build(model, CUSTOM, OURS)) == {
        'backbone.bn.weight': (0.04, 0.0), 'backbone.bn.bias': (0.04, 0.0),
        'backbone.depthwise.weight': (0.02, 0.02), 'backbone.depthwise.bias': (0.02, 0.0),
        'head.fc.weight': (0.2, 0.04), 'head.fc.bias': (0.2, 0.0),
        'head.attention.in_proj_weight': (0.2, 0.04), 'head.attention.in_proj_bias': (0.2, 0.0),
        'head.attention.out_proj.weight': (0.2, 0.04), 'head.attention.out_proj.bias': (0.2, 0.0),
    }


def test_the_constructor_works_without_any_paramwise_setting():
    model = Net()
    found = settings(model, build(model, None, OURS))
    assert {name for name, (_, decay) in found.items() if decay == 0.0} == {
        'backbone.bn.weight', 'backbone.bn.bias', 'backbone.depthwise.bias', 'head.fc.bias',
        'head.attention.in_proj_bias', 'head.attention.out_proj.bias'}


def test_the_offset_layer_of_a_deformable_convolution_is_reached():
    ops = pytest.importorskip('mmcv.ops')
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), ops.ModulatedDeformConv2dPack(4, 4, 3))
    plain, ours = build(model, PLAIN), build(model, None, OURS)
    assert settings(model, plain)['1.conv_offset.bias'][1] == 0.04
    assert settings(model, ours)['1.conv_offset.bias'][1] == 0.0
    assert measure(model, plain).live is False
    assert measure(model, ours).live is True


def test_a_decay_is_needed_where_there_is_something_to_exempt():
    with pytest.raises(ValueError, match='base_wd should not be None'):
        build_optim_wrapper(Net(), ConfigDict(
            {'optimizer': {'type': 'AdamW', 'lr': 0.1}, 'constructor': OURS}))


def test_the_measurement_counts_what_the_optimizer_holds():
    model = Net()
    finding = measure(model, build(model, CUSTOM, OURS))
    assert finding.live is True
    assert finding.measured == ('6 of 6 bias and norm parameters without decay; 4 others decay '
                                '0.02/0.04')


@pytest.mark.parametrize(('paramwise', 'words'), [
    (CUSTOM, '0 of 6'),
    ({**PLAIN, **CUSTOM}, '2 of 6'),
    (PLAIN, '5 of 6 bias and norm parameters without decay; 4 others decay 0.04'
            '; with decay: head.attention.in_proj_bias'),
])
def test_a_cancelled_exemption_is_reported_as_not_live(paramwise, words):
    model = Net()
    finding = measure(model, build(model, paramwise))
    assert finding.live is False
    assert words in finding.measured


def test_where_no_bias_or_norm_trains_there_is_nothing_to_exempt():
    model = nn.Linear(3, 2, bias=False)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.04))
    finding = measure(model, optim)
    assert finding.live is None
    assert finding.measured.startswith('no bias or norm parameter trains')


def test_without_any_decay_there_is_nothing_to_tell_and_one_that_was_lost_is_dead():
    model = Net()
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    finding = measure(model, optim)
    assert finding.live is None
    assert finding.measured == 'the optimizer has no weight decay to exempt from'
    optim = build(model, None, OURS)
    now = watch(model, optim)
    for group in optim.optimizer.param_groups:
        group['weight_decay'] = 0.0
    assert now().live is False


@pytest.mark.parametrize('factor', [0.1, 10.0])
def test_any_other_decay_is_right_too(factor):
    model = Net()
    optim = build(model, CUSTOM, OURS)
    now = watch(model, optim)
    for group in optim.optimizer.param_groups:
        group['weight_decay'] *= factor
    assert now().live is True


def test_a_decay_that_comes_or_goes_later_is_found():
    model = Net()
    optim = build(model, CUSTOM, OURS)
    now = watch(model, optim)
    assert now().live is True
    groups = {id(group['params'][0]): group for group in optim.optimizer.param_groups}
    bias, weight = model.head['fc'].bias, model.head['fc'].weight
    groups[id(bias)]['weight_decay'] = 1e-4
    assert now().live is False and now().values['wrongly_decayed'] == ['head.fc.bias']
    groups[id(bias)]['weight_decay'] = 0.0
    groups[id(weight)]['weight_decay'] = 0.0
    assert now().live is False and now().values['lost_decay'] == ['head.fc.weight']


def test_scales_that_decay_are_no_norms_and_the_constructor_exempts_them():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.gamma = nn.Parameter(torch.ones(2))

    model = Scaled()
    assert measure(model, build(model, PLAIN)).live is True
    optim = build(model, None, OURS)
    assert settings(model, optim)['gamma'][1] == 0.0
    now = watch(model, optim)
    groups = {id(group['params'][0]): group for group in optim.optimizer.param_groups}
    groups[id(model.gamma)]['weight_decay'] = 0.1
    assert now().live is False and now().values['gained_decay'] == ['gamma']


def test_several_optimizers_and_a_wrapped_model_are_measured():
    model = Net()
    optims = OptimWrapperDict(
        a=build(model.backbone, PLAIN), b=build(model.head, None, OURS))
    wrapped = nn.DataParallel(model)
    assert measure(wrapped, optims).live is True
    optims['b'].optimizer.param_groups[1]['weight_decay'] = 0.3
    assert measure(wrapped, optims).values['wrongly_decayed'] == ['head.fc.bias']


class Shared(nn.Module):
    """A norm under two names, as in mmpretrain's SwAVNeck."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.projection = nn.Sequential(nn.Linear(3, 2), self.norm)


@pytest.mark.parametrize('own, constructor', [
    (None, None), ({'dwconv_decay_mult': 0.5}, OURS),
    ({'dwconv_decay_mult': 0.5}, 'BackboneLrOptimWrapperConstructor')])
def test_a_layer_under_two_names_is_taken_once(own, constructor):
    if constructor is None:
        cfg = {'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.2, 'weight_decay': 0.04}}}
        NoBiasDecay.from_dict({}).apply(cfg)
        own = cfg['optim_wrapper']['paramwise_cfg']
    model = Shared()
    found = settings(model, build(model, own, constructor))
    assert len(found) == 4 and {found[f'norm.{name}'][1] for name in ('weight', 'bias')} == (
        {0.04} if str(constructor).startswith('Backbone') else {0.0})
