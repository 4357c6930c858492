from __future__ import annotations

import pytest

from tricks_plugin.tricks.linear_lr.functional import effective_batch_size, linear_scaled_lr


@pytest.mark.parametrize(('batch', 'world', 'accumulation', 'expected'), [
    (3, 1, 1, 3), (3, 8, 1, 24), (3, 8, 5, 120), (7, 1, 6, 42),
])
def test_the_effective_batch_counts_processes_and_accumulated_iterations(
        batch, world, accumulation, expected):
    assert effective_batch_size(batch, world, accumulation) == expected


@pytest.mark.parametrize(('lr', 'effective', 'base', 'expected'), [
    (0.02, 6, 16, 0.0075), (0.001, 16, 64, 0.00025), (0.1, 1024, 256, 0.4), (0.003, 17, 17, 0.003),
])
def test_the_lr_moves_in_proportion(lr, effective, base, expected):
    assert linear_scaled_lr(lr, effective, base) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: effective_batch_size(0), 'batch_size must be >= 1, got 0'),
    (lambda: effective_batch_size(2, -1), 'world_size must be >= 1, got -1'),
    (lambda: effective_batch_size(2, 1, 0), 'accumulation must be >= 1, got 0'),
    (lambda: linear_scaled_lr(-0.1, 2, 4), 'lr must be >= 0, got -0.1'),
    (lambda: linear_scaled_lr(0.1, 0, 4), 'effective_batch must be >= 1, got 0'),
    (lambda: linear_scaled_lr(0.1, 2, 0), 'base_batch must be >= 1, got 0'),
])
def test_wrong_arguments_are_named_with_their_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
