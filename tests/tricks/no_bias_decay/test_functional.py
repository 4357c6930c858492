from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_plugin.tricks.no_bias_decay.functional import (
    bias_and_norm_parameters,
    no_decay_parameters,
    param_groups,
)


class L2Norm(nn.Module):
    """As in SSD: a vector that scales normalised channels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5))


class NormedLinear(nn.Linear):
    """As in mmdet: a linear layer, whatever its name says."""


class ScaledBatchNorm(nn.BatchNorm2d):
    """A user's subclass."""


class PreNorm(nn.Module):
    """A wrapper that is named after a norm, with a matrix of its own."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.ones(3, 4))


class Odd(nn.Module):
    """Parameters whose names have something of a bias."""

    def __init__(self):
        super().__init__()
        self.q_bias = nn.Parameter(torch.ones(4))
        self.bias0 = nn.Parameter(torch.ones(1))
        self.relative_position_bias_table = nn.Parameter(torch.ones(9, 2))
        self.unbiased = nn.Parameter(torch.ones(4))
        self.scale = nn.Parameter(torch.tensor(1.0))


@pytest.mark.parametrize(('module', 'expected'), [
    (nn.Conv2d(3, 4, 1), ['bias']),
    (nn.Conv2d(4, 4, 3, groups=4), ['bias']),
    (nn.BatchNorm2d(4), ['weight', 'bias']),
    (ScaledBatchNorm(4), ['weight', 'bias']),
    (nn.SyncBatchNorm(4), ['weight', 'bias']),
    (nn.InstanceNorm2d(4, affine=True), ['weight', 'bias']),
    (nn.GroupNorm(2, 4), ['weight', 'bias']),
    (nn.LayerNorm([4, 3, 3]), ['weight', 'bias']),
    (nn.MultiheadAttention(4, 2), ['in_proj_bias', 'out_proj.bias']),
    (L2Norm(), ['weight']),
    (NormedLinear(4, 3), ['bias']),
    (PreNorm(), []),
    (Odd(), ['q_bias', 'bias0']),
    (nn.Embedding(5, 4), []),
])
def test_the_biases_and_norms_of_every_kind_of_layer_are_named(module, expected):
    assert bias_and_norm_parameters(module) == expected
    nested = nn.Sequential(nn.ReLU(), nn.ModuleDict({'x': module}))
    assert bias_and_norm_parameters(nested) == [f'1.x.{name}' for name in expected]


def test_a_shared_parameter_is_named_once():
    layer = nn.Linear(3, 3)
    assert no_decay_parameters(nn.ModuleList([layer, layer])) == ['0.bias']


def holder(kind='Holder', **parameters):
    """A module of a class of that name with parameters of these shapes."""
    module = type(kind, (nn.Module,), {})()
    for name, shape in parameters.items():
        module.register_parameter(name, nn.Parameter(torch.ones(shape)))
    return module


@pytest.mark.parametrize(('module', 'expected'), [
    (holder(gamma_1=(4,), gamma_2=(4,), qkv=(4, 4)), ['gamma_1', 'gamma_2']),  # CaiT, BEiT
    (holder('LayerScale', weight=(4,)), ['weight']),  # mmpretrain
    (holder('LayerScale2d', gamma=(4, 1, 1)), ['gamma']),  # timm's FastViT
    (holder('CNBlock', layer_scale=(4, 1, 1), kernel=(4, 4, 1)), ['layer_scale']),  # torchvision
    (holder('Affine', alpha=(1, 1, 4), beta=(1, 1, 4)), ['alpha', 'beta']),  # ResMLP
    (holder(ls1=(4, 1), res_scale=(1, 4), skipinit_gain=()), ['ls1', 'res_scale', 'skipinit_gain']),
    (holder('Scale', scale=()), []),  # mmcv, one number for a whole map
    (holder(logit_scale=(), temperature=(3, 1, 1), cls_token=(1, 1, 4)), []),
    (holder(pulse=(4,), lscale=(4, 1), gammas=(4, 1)), ['pulse']),
    (nn.PReLU(4), ['weight']),
    (Odd(), ['q_bias', 'bias0', 'unbiased']),
])
def test_scales_outside_of_norms_do_not_decay_either(module, expected):
    assert no_decay_parameters(nn.ModuleDict({'x': module})) == [f'x.{name}' for name in expected]
    norm = nn.LayerNorm(2)
    assert no_decay_parameters(norm) == bias_and_norm_parameters(norm) == ['weight', 'bias']


def test_what_a_model_or_a_part_of_it_names_does_not_decay():
    part = holder(pos_embed=(1, 5, 4), table=(5, 4), head=(4, 4))
    part.no_weight_decay = lambda: {'pos_embed', 'ta*'}
    assert no_decay_parameters(part) == ['pos_embed', 'table']
    assert no_decay_parameters(nn.Sequential(part)) == ['0.pos_embed', '0.table']


def test_patterns_add_names_and_one_that_matches_nothing_is_refused():
    model = nn.ModuleDict({'a': nn.Linear(2, 2), 'b': nn.Linear(2, 2)})
    decayed, free = param_groups(model, 0.1, no_decay=['b.*'])
    assert decayed['params'] == [model['a'].weight]
    assert free['params'] == [model['a'].bias, model['b'].weight, model['b'].bias]
    with pytest.raises(ValueError, match=r"no_decay: no parameter matches 'c\.\*'"):
        param_groups(model, 0.1, no_decay=['b.*', 'c.*'])
    with pytest.raises(TypeError, match=r"a list of patterns, got the string 'b\.\*'"):
        param_groups(model, 0.1, no_decay='b.*')


@pytest.mark.parametrize(('name', 'expected'), [
    ('cait_xxs24_224', 2 * 26), ('beit_base_patch16_224', 2 * 12), ('convnext_atto', 12)])
def test_the_layer_scales_of_timms_models_do_not_decay(name, expected):
    # CaiT: two in each of 24 blocks and of 2 class-attention blocks; ConvNeXt: 2 + 2 + 6 + 2 blocks
    timm = pytest.importorskip('timm')
    with torch.device('meta'):
        model = timm.create_model(name)
    found = [one for one in no_decay_parameters(model) if 'gamma' in one]
    assert len(found) == expected
    free = set(no_decay_parameters(model))
    assert not [one for one, parameter in model.named_parameters()
                if one in free and one.endswith('.weight') and parameter.ndim > 1]


def test_the_groups_hold_every_trainable_parameter_once():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    model[2].bias.requires_grad = False
    decayed, free = param_groups(model, 0.0005)
    assert (decayed['weight_decay'], free['weight_decay']) == (0.0005, 0.0)
    assert [p.shape for p in decayed['params']] == [(4, 3, 3, 3), (2, 4, 1, 1)]
    assert [p.shape for p in free['params']] == [(4,), (4,), (4,)]


def test_one_step_without_gradients_shrinks_the_weights_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 3.0)
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.SGD(param_groups(model, 0.02), lr=0.5).step()
    assert model[0].weight.detach().flatten().tolist() == pytest.approx([2.97] * 4)
    for parameter in (model[0].bias, model[1].weight, model[1].bias):
        assert parameter.tolist() == [3.0, 3.0]


def test_an_empty_group_is_left_out():
    assert len(param_groups(nn.Embedding(3, 2), 0.1)) == 1


def test_a_negative_decay_is_refused():
    with pytest.raises(ValueError, match='weight_decay must be >= 0, got -0.1'):
        param_groups(nn.Linear(2, 2), -0.1)
