"""Adapters in two processes: one gradient, the mean of both, and so the same weights."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import distributed

from tricks_plugin.tricks.distill.adapters import Adapters, _adapter

pytestmark = pytest.mark.slow


def train(rank, folder):
    """One step on a feature of 1 in the first process and of 2 in the second."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank,
                                   world_size=2)
    torch.manual_seed(rank)  # which must not decide on the first weights
    student = torch.nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(student.parameters(), lr=0.5))
    adapters = Adapters(wrapper)
    out = adapters(0, torch.full((1, 2, 1, 1), 1.0 + rank), 3)
    adapters.begin()
    wrapper.update_params(out.sum() + student(torch.ones(1)).sum())
    torch.save(adapters.state()['adapters'][0], f'{folder}/{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


def test_the_gradients_of_adapters_are_averaged_over_the_processes(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=train, args=(rank, str(tmp_path))) for rank in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
        if one.is_alive():
            one.kill()
            pytest.fail('a process hangs')
    assert [one.exitcode for one in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    # The gradients of a weight are 1 and 2, their mean times the LR 0.75; of a bias 1.
    begun = _adapter(0, 2, 3).state_dict()
    torch.testing.assert_close(first['weight'], begun['weight'] - 0.75)
    torch.testing.assert_close(first['bias'], begun['bias'] - 0.5)
