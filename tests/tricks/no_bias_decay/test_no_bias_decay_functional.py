from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_plugin.tricks.no_bias_decay.functional import no_decay_parameters, param_groups


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
    assert no_decay_parameters(module) == expected
    nested = nn.Sequential(nn.ReLU(), nn.ModuleDict({'x': module}))
    assert no_decay_parameters(nested) == [f'1.x.{name}' for name in expected]


def test_a_shared_parameter_is_named_once():
    layer = nn.Linear(3, 3)
    assert no_decay_parameters(nn.ModuleList([layer, layer])) == ['0.bias']


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
