"""A lower rate for the backbone, beside every other rule."""

from __future__ import annotations

import copy
import types

import pytest
import torch
from torch import nn

pytest.importorskip('mmengine')
from mmengine.config import Config, ConfigDict  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402

import tricks_plugin  # noqa: E402
import tricks_plugin.tricks.no_bias_decay.constructor  # noqa: E402
from tricks_plugin.mm.training import RunnerTraining  # noqa: E402
from tricks_plugin.plan import RunFacts  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.backbone_lr import BackboneLr, constructor  # noqa: E402, F401
from tricks_plugin.tricks.backbone_lr.evidence import BackboneLrEvidence  # noqa: E402
from tricks_plugin.tricks.backbone_lr.functional import backbone_parameters  # noqa: E402

SGD = {'type': 'SGD', 'lr': 0.2, 'weight_decay': 0.04}
# Rules that a key `backbone` of custom_keys would cancel, and keys within and beside it.
RULES = {'norm_decay_mult': 0.0, 'bias_lr_mult': 2.0, 'dwconv_decay_mult': 0.5,
         'custom_keys': {'norm1': {'decay_mult': 0.25}, 'backbone.stem': {'lr_mult': 0.5},
                         'head.fc': {'lr_mult': 10.0}}}


class Net(nn.Module):
    """A backbone with norms, a depth-wise and a frozen layer, and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({
            'frozen': nn.Conv2d(3, 4, 3), 'stem': nn.Conv2d(4, 4, 3), 'norm1': nn.BatchNorm2d(4),
            'norm2': nn.BatchNorm2d(4), 'depthwise': nn.Conv2d(4, 4, 3, groups=4),
            'conv': nn.Conv2d(4, 4, 3)})
        self.backbone['frozen'].requires_grad_(False)
        self.head = nn.ModuleDict({'fc': nn.Linear(4, 2), 'conv': nn.Conv2d(4, 4, 1),
                                   'norm': nn.BatchNorm2d(4), 'conv2': nn.Conv2d(4, 4, 1)})
        self.backbone_scale = nn.Parameter(torch.ones(1))


def build(model, paramwise=None, kind=None):
    cfg = {'optimizer': dict(SGD), **({'paramwise_cfg': paramwise} if paramwise else {}),
           **({'constructor': kind} if kind else {})}
    return build_optim_wrapper(model, ConfigDict(copy.deepcopy(cfg)))


def settings(model, optim):
    """(lr, weight decay) by parameter name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: (group['lr'], group['weight_decay'])
            for group in optim.optimizer.param_groups for parameter in group['params']}


def inside(name):
    return name.startswith('backbone.')


@pytest.mark.parametrize('paramwise', [{}, RULES])
def test_every_rule_of_mmengine_s_holds_and_the_rate_comes_on_top(paramwise):
    model = Net()
    stock = settings(model, build(model, paramwise or {'bypass_duplicate': False}))
    found = settings(model, build(model, {**paramwise, 'backbone_lr_mult': 0.1},
                                  'tricks_plugin.BackboneLrOptimWrapperConstructor'))
    assert set(found) == set(stock) and 'backbone.frozen.weight' not in found
    for name, (lr, decay) in stock.items():
        wanted = lr * 0.1 if inside(name) else lr
        assert found[name] == (pytest.approx(wanted, rel=1e-12), decay), name
    if paramwise:
        # by hand: 0.2 x 2 x 0.1, 0.2 x 0.5 x 0.1, 0.2 x 10, and 0.04 x 0.5, 0.25, 0
        assert found['backbone.conv.bias'] == (pytest.approx(0.04), 0.04)
        assert found['backbone.stem.weight'][0] == pytest.approx(0.01)
        assert found['head.fc.weight'][0] == pytest.approx(2.0)
        assert found['backbone.depthwise.weight'][1] == pytest.approx(0.02)
        assert found['backbone.norm1.weight'] == (pytest.approx(0.02), pytest.approx(0.01))
        assert found['backbone.norm2.weight'][1] == found['head.norm.weight'][1] == 0


def config(paramwise=None, **more):
    wrapper = {'type': 'OptimWrapper', 'optimizer': dict(SGD),
               **({'paramwise_cfg': copy.deepcopy(paramwise)} if paramwise else {})}
    return {'model': {'type': 'Net', 'backbone': {'type': 'Some'}}, 'optim_wrapper': wrapper,
            **more}


@pytest.mark.parametrize('paramwise, kind', [
    (None, 'BackboneLrOptimWrapperConstructor'), (RULES, 'NoBiasDecayOptimWrapperConstructor')])
@pytest.mark.parametrize('together', [True, False])
def test_beside_no_bias_decay_both_rules_hold_exactly(paramwise, kind, together):
    both = ['backbone_lr', 'no_bias_decay']
    cfg = Config(config(paramwise))
    if together:
        cfg, plan = tricks_plugin.apply_tricks(cfg, both)
    else:
        cfg, plan = tricks_plugin.apply_tricks(cfg, 'no_bias_decay')
        cfg, plan = tricks_plugin.apply_tricks(cfg, 'backbone_lr')
    assert {row.status for row in plan.tricks} == {'applied'}
    if together:
        assert cfg.optim_wrapper.constructor == f'tricks_plugin.{kind}'
    alone, _ = tricks_plugin.apply_tricks(Config(config(paramwise)), 'no_bias_decay')
    model = Net()
    found = settings(model, build_optim_wrapper(model, cfg.optim_wrapper))
    wanted = settings(model, build_optim_wrapper(model, alone.optim_wrapper))
    for name, (lr, decay) in wanted.items():
        assert found[name] == (pytest.approx(lr * 0.1 if inside(name) else lr, rel=1e-12), decay)
        if name != 'backbone_scale':  # a vector, which only the constructor knows
            assert (decay == 0) == (name.endswith('bias') or 'norm' in name), name
    again, plan = tricks_plugin.apply_tricks(cfg, both)
    assert {row.status for row in plan.tricks} == {'present'}
    assert again.optim_wrapper == cfg.optim_wrapper


def verdict(cfg, **params):
    return BackboneLr.from_dict(params).apply(cfg)


def test_the_edit_and_its_promise():
    cfg = config()
    found = verdict(cfg, lr_mult=0.25)
    assert found.status == 'applied' and found.promise == {'lr_mult': 0.25}
    assert cfg['optim_wrapper']['paramwise_cfg'] == {'backbone_lr_mult': 0.25}
    assert verdict(cfg).promise == {'lr_mult': 0.25}


@pytest.mark.parametrize('change, status, words', [
    (dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))), 'present',
     'custom_keys.backbone has lr_mult 0.1 already'),
    (dict(paramwise_cfg=dict(decay_rate=0.7, num_layers=12),
          constructor='LearningRateDecayOptimizerConstructor'), 'present', 'layer by layer'),
    (dict(constructor='MyConstructor'), 'not_applicable', 'MyConstructor, which decides'),
    (dict(paramwise_cfg=3), 'not_applicable', 'is not a dict'),
    (dict(paramwise_cfg=dict(custom_keys=['backbone'])), 'not_applicable',
     'custom_keys is not a dict'),
    (dict(optimizer=dict(type='Prodigy')), 'not_applicable', 'names no lr')])
def test_where_it_is_there_or_means_nothing(change, status, words):
    cfg = config()
    cfg['optim_wrapper'].update(change)
    found = verdict(cfg)
    assert found.status == status and words in found.reason
    assert 'no part named backbone' in verdict({**config(), 'model': {'type': 'Net'}}).reason
    with pytest.raises(TrickError, match='backbone_lr.lr_mult must be < 1, got 1'):
        BackboneLr.from_dict({'lr_mult': 1})


def test_a_recipe_holds_it_back_where_nothing_is_pretrained():
    trick = BackboneLr.from_dict({})
    assert trick.pays(RunFacts(pretrained='backbone', task='detection')) is None
    assert 'no pretrained weights' in trick.pays(RunFacts(task='detection'))


def test_the_evidence_sees_the_share_and_its_loss():
    model = Net()
    optim = build(model, {'backbone_lr_mult': 0.1},
                  'tricks_plugin.BackboneLrOptimWrapperConstructor')
    training = RunnerTraining(types.SimpleNamespace(model=model, optim_wrapper=optim, cfg={},
                                                    max_iters=9, train_dataloader=[0] * 3))
    evidence = BackboneLrEvidence(0.1)
    for group in optim.optimizer.param_groups:
        group['initial_lr'], group['lr'] = group['lr'], 0.5 * group['lr']
    found = evidence.finding(training)
    assert found.live is True and found.values['share'] == pytest.approx(0.1)
    # 10 trainable tensors of the backbone, 9 others
    assert 'base LR 0.02 for 10 parameters of the backbone, 0.2 for 9 others' in found.measured
    assert 'decays 0.04 and 0.04' in found.measured
    for group in optim.optimizer.param_groups:  # something sets one rate for all
        group['lr'] = 0.15
    found = evidence.finding(training)
    assert found.live is False and found.values['above'] == 10
    for group in optim.optimizer.param_groups:
        group['lr'] = group['initial_lr'] = 0.1
    assert evidence.finding(training).live is False
    model.backbone.requires_grad_(False)
    assert evidence.finding(training).live is None


def test_timm_s_layer_decay_is_clamped_at_once():
    pytest.importorskip('timm')
    import timm
    from support.timm_train import settings_of
    from timm.optim import create_optimizer_v2

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(), frozenset(), 'backbone_lr')
    assert plan['backbone_lr'].promise == {'lr_mult': 0.1}
    model = timm.create_model('resnet18', num_classes=3, layers=(1, 1, 1, 1),
                              channels=(8, 8, 8, 16))
    optim = create_optimizer_v2(model, 'sgd', lr=0.5, weight_decay=0.01,
                                layer_decay=args.layer_decay,
                                layer_decay_min_scale=args.layer_decay_min_scale)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optim.param_groups:
        for parameter in group['params']:
            head = names[id(parameter)].startswith('fc.')
            assert group['lr_scale'] == (1.0 if head else 0.1), names[id(parameter)]
            assert group['weight_decay'] == (0.0 if parameter.ndim == 1 else 0.01)
    inner = backbone_parameters(model)
    assert {names[id(parameter)] for parameter in inner} == {
        name for name in names.values() if not name.startswith('fc.')}
    _, plan, _ = plan_tricks(settings_of(layer_decay=0.7), {'layer_decay'}, 'backbone_lr')
    assert plan['backbone_lr'].reason == '--layer-decay 0.7 is yours and stands'


@pytest.mark.parametrize(('backbone', 'trains'), [
    ({'type': 'ResNet', 'frozen_stages': 4}, False),
    ({'type': 'mmdet.ResNeXt', 'frozen_stages': 4}, False),
    ({'type': 'ResNet', 'frozen_stages': 3}, True),
    ({'type': 'ResNet', 'num_stages': 3, 'frozen_stages': 3}, False),
    ({'type': 'Darknet', 'frozen_stages': 5}, True),  # of six blocks
    ({'type': 'MobileNetV2', 'frozen_stages': 4}, True),
])
def test_a_backbone_that_is_frozen_as_a_whole_has_no_rate(backbone, trains):
    cfg = {'default_scope': 'mmdet', 'model': {'type': 'RetinaNet', 'backbone': backbone},
           'optim_wrapper': {'optimizer': dict(SGD)}}
    verdict = BackboneLr.from_dict({}).apply(cfg)
    assert verdict.status == ('applied' if trains else 'not_applicable')
    assert trains or verdict.reason == (
        f'nothing of the backbone trains: model.backbone.frozen_stages is '
        f'{backbone["frozen_stages"]}')
