"""Which norms end a residual branch, counted by hand in torchvision's and timm's networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricks_plugin.functional import last_norm, zero_last_scales

torchvision = pytest.importorskip('torchvision')


@pytest.mark.parametrize(('name', 'blocks'), [
    ('resnet18', 2 + 2 + 2 + 2), ('resnet50', 3 + 4 + 6 + 3),
    # each row of the paper's table 2 has n blocks, of which the first changes the shape
    ('mobilenet_v2', 0 + 1 + 2 + 3 + 2 + 2 + 0),
    # 24 -> 24; 40 -> 40 twice; 48 -> 48; 96 -> 96 twice
    ('mobilenet_v3_small', 1 + 2 + 1 + 2),
    # every block, by a projection where the shape changes
    ('regnet_y_400mf', 1 + 3 + 6 + 6), ('regnet_x_400mf', 1 + 2 + 7 + 12),
    ('efficientnet_b0', 0 + 1 + 1 + 2 + 2 + 3 + 0), ('mnasnet0_5', 2 + 2 + 2 + 1 + 3 + 0),
    ('shufflenet_v2_x0_5', 0),
])
def test_torchvisions_networks_have_as_many_as_counted_by_hand(name, blocks):
    model = torchvision.models.get_model(name, weights=None)
    assert zero_last_scales(model) == blocks
    zero = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)
            and not one.weight.any()]
    assert len(zero) == blocks


@pytest.mark.parametrize(('name', 'blocks'), [
    ('resnet18', 8), ('seresnet50', 16), ('regnetx_002', 1 + 1 + 4 + 7), ('skresnet18', 8),
    # 2 + 4 + 12 + 3 blocks, of which the first of each stage has no shortcut
    ('regnetz_005', 1 + 3 + 10 + 3),
    ('efficientnet_b0', 9), ('mobilenetv3_small_100', 6),
    # 16 -> 16 by the first block; then n - 1 of 2, 3, 4, 2 and 3
    ('mobilenetv3_large_100', 1 + 1 + 2 + 3 + 1 + 2),
    ('resnetv2_50', 0),  # pre-activation: a convolution is last
])
def test_timms_networks_have_as_many_as_counted_by_hand(name, blocks):
    timm = pytest.importorskip('timm')
    assert zero_last_scales(timm.create_model(name)) == blocks


@pytest.mark.parametrize('name', ['resnet18', 'regnetx_002', 'cspresnet50', 'gernet_s'])
def test_where_timm_zeroes_scales_by_itself_they_are_the_same(name):
    timm = pytest.importorskip('timm')

    def zeros(model):
        return {key for key, value in model.named_parameters()
                if key.endswith('weight') and value.ndim == 1 and not value.any()}

    ours, theirs = (timm.create_model(name, zero_init_last=theirs) for theirs in (False, True))
    assert not zeros(ours)
    zero_last_scales(ours)
    assert zeros(ours) == zeros(theirs) and zeros(ours)


@pytest.mark.parametrize('name', ['mobilenet_v2', 'regnet_y_400mf', 'efficientnet_b0'])
def test_a_found_block_of_equal_shapes_is_the_identity_and_the_scale_learns(name):
    model = torchvision.models.get_model(name, weights=None)
    zero_last_scales(model)
    block = [one for one in model.modules() if last_norm(one) is not None][-1]
    norm = last_norm(block)
    inner = next(one for one in block.modules() if isinstance(one, nn.Conv2d))
    x = torch.rand(2, inner.in_channels, 4, 4)  # not negative: RegNet ends in a ReLU
    result = block.eval()(x)
    torch.testing.assert_close(result, x, atol=1e-6, rtol=0)
    block.train()(x).square().sum().backward()
    assert norm.weight.grad.abs().sum() > 0


class Block(nn.Module):
    """Convolution, norm and activation in a row, whose sum with the input is the output."""

    def __init__(self, act, has_skip=True, norm=nn.BatchNorm2d):
        super().__init__()
        self.has_skip = has_skip
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), norm(3), act)


def test_a_relu_before_the_addition_or_no_addition_means_no_norm():
    soft = Block(nn.SiLU())
    assert last_norm(soft) is soft.body[1]
    assert last_norm(Block(nn.ReLU())) is None
    assert last_norm(Block(nn.SiLU(), has_skip=False)) is None
    assert last_norm(Block(nn.Conv2d(3, 3, 1))) is None


def test_a_fixed_scale_stays_and_is_not_counted():
    fixed, plain = Block(nn.Identity()), Block(nn.Identity(), norm=lambda width: nn.BatchNorm2d(
        width, affine=False))
    fixed.body[1].weight.requires_grad_(False)
    assert zero_last_scales(nn.Sequential(fixed, plain)) == 0
    assert fixed.body[1].weight.tolist() == [1.0, 1.0, 1.0]
