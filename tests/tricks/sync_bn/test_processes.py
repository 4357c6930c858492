"""Processes of gloo against one process that holds the whole batch."""

from __future__ import annotations

import math

import pytest
import torch
from support.sums import tolerance
from support.sync_bn import (
    CASES,
    NORMS,
    SHAPES_DIFFER,
    STEPS,
    batches,
    conv_and_norm,
    layer,
    run_case,
)
from torch import nn

from tricks_plugin.functional import CrossRankBatchNorm

pytestmark = pytest.mark.slow

EXACT = dict(rtol=1e-9, atol=1e-9)  # of float64


class AnyBatchNorm(nn.modules.batchnorm._BatchNorm):
    """torch's own arithmetic for any number of dimensions."""

    def _check_input_dim(self, input):
        pass


def one_process(case, ranks):
    """torch's BatchNorm on the concatenated batches, in float64 whatever the case is in."""
    case = dict(case)
    inputs = [tuple(torch.cat(parts) for parts in zip(*batches(case, step, ranks), strict=True))
              for step in range(STEPS)]
    case['dtype'] = torch.float64
    inputs = [(values.double(), factors.double()) for values, factors in inputs]
    return run_case(layer(case, AnyBatchNorm), case, inputs)


def split(tensor, case, ranks):
    return tensor.split(list(case['parts'][:ranks]))


def terms(case, ranks):
    """How many values a channel has over all processes."""
    return sum(case['parts'][:ranks]) * math.prod(case['shape'][1:])


def close(case, ranks, tensor):
    """The tolerance for a tensor that comes of the channels' means."""
    if 'dtype' not in case:
        return EXACT
    if tensor.dtype is torch.bfloat16:
        return dict(rtol=2 ** -7, atol=2 ** -7 * float(tensor.abs().max()))
    # the mean of the terms' magnitudes is below four times the largest result
    return dict(rtol=0, atol=tolerance(terms(case, ranks), 4 * float(tensor.abs().max())))


@pytest.mark.parametrize('ranks', [2, 3])
@pytest.mark.parametrize('name', list(CASES))
def test_processes_equal_one_with_the_whole_batch(name, ranks, request):
    results = request.getfixturevalue('three') if ranks == 3 else request.getfixturevalue('two')[0]
    case, got = CASES[name], [result['layers'][name] for result in results]
    wanted = one_process(case, ranks)
    for step in range(STEPS):
        for key in ('outputs', 'gradients'):
            for rank, part in enumerate(split(wanted[key][step], case, ranks)):
                found = got[rank][key][step]
                assert found.dtype == case.get('dtype', torch.float64)
                torch.testing.assert_close(
                    found, part.to(found.dtype),
                    **close(case, ranks, wanted[key][step].to(found.dtype)),
                    msg=lambda text, where=(key, step, rank): f'{where}: {text}')
    for key in ('weight_grad', 'bias_grad'):  # each process has those of its own loss
        if wanted[key] is not None:
            total = sum(item[key].double() for item in got)
            count = STEPS * terms(case, ranks)  # products of two normal numbers: below 1 on average
            torch.testing.assert_close(
                total, wanted[key], rtol=1e-9,
                atol=tolerance(count, count) if 'dtype' in case else 1e-9)
    assert list(got[0]['state']) == list(wanted['state'])
    for key, value in wanted['state'].items():
        found = got[0]['state'][key]
        torch.testing.assert_close(found, value.to(found.dtype), **close(case, ranks, value))


def test_statistics_are_equal_to_the_bit_on_all_processes(three):
    for name in CASES:
        for result in three[1:]:
            for key, value in result['layers'][name]['state'].items():
                assert torch.equal(value, three[0]['layers'][name]['state'][key]), (name, key)


def test_images_of_other_sizes_in_each_process_count_by_their_pixels(three):
    results = [result['shapes_differ'] for result in three]
    columns = torch.cat([item['values'].movedim(1, -1).reshape(-1, 3) for item in results])
    assert len(columns) == 2 * 6 * 4 + 8 * 5 + 2 * 3 * 3
    plain = nn.BatchNorm1d(3).double()
    wanted = plain(columns).detach()
    sizes = [shape[0] * shape[2] * shape[3] for shape in SHAPES_DIFFER]
    for item, part in zip(results, wanted.split(sizes), strict=True):
        found = item['output'].movedim(1, -1).reshape(-1, 3)
        torch.testing.assert_close(found, part, **EXACT)
        torch.testing.assert_close(item['state']['running_var'], plain.running_var, **EXACT)


def test_a_process_whose_input_needs_no_gradient_does_not_block_the_others(three):
    # channel 0: 1, 3, 5 with mean 3; channel 1: 4, 0, 2 with mean 2; the others hold nothing
    for result in three:
        torch.testing.assert_close(result['gradient']['state']['running_mean'],
                                   torch.tensor([0.3, 0.2], dtype=torch.float64))
        torch.testing.assert_close(result['gradient']['state']['running_var'],
                                   torch.full((2,), 0.9 + 0.1 * 4.0, dtype=torch.float64))
    assert three[0]['gradient']['weight_grad'].abs().max() < 1e-12
    assert torch.equal(three[1]['gradient']['weight_grad'], torch.zeros(2, dtype=torch.float64))


def test_input_that_cannot_be_normalized_is_refused_on_every_process(three):
    for result in three:
        found = result['refusals']
        assert found['one value'].startswith(
            'BatchNorm in training needs more than 1 value per channel over all processes, got '
            'input of shape (')
        assert found['channels'] == 'input must be of shape (N, 2, ...), got (3, 5)'


def test_a_batch_that_is_empty_everywhere_leaves_the_statistics(three):
    state = three[2]['refusals']['empty everywhere']
    assert torch.equal(state['running_mean'], torch.zeros(2))
    assert torch.equal(state['running_var'], torch.ones(2))
    assert state['num_batches_tracked'] == 1


@pytest.mark.parametrize('norm', NORMS)
def test_gradients_under_ddp_are_those_of_the_whole_batch(two, norm):
    model = conv_and_norm(norm).double()
    for step in range(2):
        values = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(step),
                             dtype=torch.float64)
        model(values).pow(3).mean().backward()
    for result in two[0]:
        found = result[f'ddp {norm}']
        assert found['converted'] == ['module.1']
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found['grads'][name], parameter.grad, **EXACT)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(found['state'][name], value, **EXACT)


def test_without_a_process_group_the_layer_says_what_to_do():
    built = CrossRankBatchNorm(2)
    with pytest.raises(RuntimeError, match=r'needs an initialised process group.*call '
                                           r'torch\.distributed\.init_process_group before'):
        built(torch.ones(3, 2))
    built.eval()
    torch.testing.assert_close(built(torch.tensor([[2.0, -4.0]])),
                               torch.tensor([[2.0, -4.0]]) / (1 + 1e-5) ** 0.5)
