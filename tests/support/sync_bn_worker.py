"""The gloo processes of the tests.

``torchrun sync_bn_worker.py FOLDER`` is one process of several; ``sync_bn_worker.py FOLDER 2`` is
two processes that also train a model, forked so that mmdet is imported once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing
from support.sync_bn import (
    CASES,
    NORMS,
    SHAPES_DIFFER,
    STEPS,
    batches,
    conv_and_norm,
    layer,
    run_case,
    train,
)
from torch import nn

from tricks_plugin.common.process_group import end_process_group
from tricks_plugin.functional import CrossRankBatchNorm, synchronize_batch_norms


def layers(rank, ranks):
    results = {}
    for name, case in CASES.items():
        inputs = [batches(case, step, ranks)[rank] for step in range(STEPS)]
        results[name] = run_case(layer(case, CrossRankBatchNorm), case, inputs)
    return results


def shapes_differ(rank):
    values = torch.randn(SHAPES_DIFFER[rank], generator=torch.Generator().manual_seed(rank),
                         dtype=torch.float64)
    built = CrossRankBatchNorm(3).double()
    output = built(values)
    return dict(values=values, output=output.detach(), state=built.state_dict())


def input_without_gradient(rank):
    """The first process's input needs a gradient, the others' come from nowhere, and are empty."""
    built = CrossRankBatchNorm(2).double()
    values = torch.tensor([[1.0, 4.0], [3.0, 0.0], [5.0, 2.0]], dtype=torch.float64) \
        if rank == 0 else torch.zeros(0, 2, dtype=torch.float64)
    (built(values.requires_grad_(rank == 0)) * torch.tensor([1.0, 2.0])).sum().backward()
    return dict(state=built.state_dict(), weight_grad=built.weight.grad)


def refusals(rank):
    """Messages of inputs that no process can train on."""
    found = {}
    one = torch.ones(1 if rank == 0 else 0, 2)
    for name, values in {'one value': one, 'channels': torch.ones(3, 5)}.items():
        try:
            CrossRankBatchNorm(2)(values)
        except ValueError as error:
            found[name] = str(error)
    nothing = CrossRankBatchNorm(2)
    output = nothing(torch.zeros(0, 2, 4, requires_grad=True))
    output.sum().backward()
    found['empty everywhere'] = nothing.state_dict()
    return found


def ddp(rank, ranks, norm):
    """A converted layer inside DistributedDataParallel, the conversion after the wrapping."""
    model = conv_and_norm(norm).double()
    wrapped = nn.parallel.DistributedDataParallel(model)
    wrapped.train()
    conversion = synchronize_batch_norms(wrapped)
    for step in range(2):
        values = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(step),
                             dtype=torch.float64)
        share = values[rank * (6 // ranks):(rank + 1) * (6 // ranks)]
        wrapped(share).pow(3).mean().backward()
    return dict(converted=conversion.trains,
                grads={name: item.grad for name, item in model.named_parameters()},
                state=model.state_dict())


def evidence(rank, ranks, norm):
    """What the measurement says of a live layer, and of one that shares with no one."""
    from tricks_plugin.mm.training import RunnerTraining
    from tricks_plugin.tricks.sync_bn.evidence import SyncBnEvidence
    alone = [dist.new_group([number]) for number in range(ranks)][rank]
    found = {}
    for name, group in {'live': None, 'broken': alone, 'plain': False}.items():
        model = conv_and_norm(norm)
        if group is not False:
            synchronize_batch_norms(model, group)
        training = RunnerTraining(SimpleNamespace(model=model, epoch=0))
        measured = SyncBnEvidence()
        measured.start(training)
        found[f'{name}, early'] = measured.finding(training).live
        _forward(measured, training, rank, 2)
        finding = measured.finding(training)
        found[name] = (finding.live, finding.measured, finding.values)
        if name == 'live':
            model[1].process_group = alone
            _forward(measured, training, rank, 1)
            found['live, then alone'] = measured.finding(training).live
            model[1] = nn.BatchNorm2d(3)
            training.runner.epoch = 1
            _forward(measured, training, rank, 1)
            finding = measured.finding(training)
            found['live, then plain'] = (finding.live, finding.values['plain'])
        measured.close()
    return found


def _forward(measured, training, rank, steps):
    for _ in range(steps):
        measured.before_iteration(training)
        values = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(7 * rank))
        training.model(values + rank)


def main(rank, ranks, folder, with_model):
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank,
                            world_size=ranks)
    results = dict(layers=layers(rank, ranks), shapes_differ=shapes_differ(rank),
                   refusals=refusals(rank), gradient=input_without_gradient(rank))
    if with_model:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
        for norm in NORMS:
            results[f'ddp {norm}'] = ddp(rank, ranks, norm)
            results[f'evidence {norm}'] = evidence(rank, ranks, norm)
        # gradients are averaged over two processes and the losses are sums: twice the rate;
        # the wrapper is built before mmdet's MobileNetV2 freezes, so some parameters stay unused
        results['model'] = train(
            folder / 'work', batch_size=2, lr=2e-4, load_from=folder / 'start.pth',
            launcher='pytorch', cfg=dict(model_wrapper_cfg=dict(
                type='MMDistributedDataParallel', device_ids=None,
                find_unused_parameters=True)))
    torch.save(results, folder / f'rank{rank}.pt')
    end_process_group()


def fork(ranks, folder):
    import mmdet.models  # noqa: F401
    import mmengine.visualization  # noqa: F401
    import torch._dynamo  # noqa: F401
    torch.multiprocessing.start_processes(
        main, (ranks, folder, True), nprocs=ranks, start_method='fork')


if __name__ == '__main__':
    place = Path(sys.argv[1])
    if sys.argv[2:]:
        fork(int(sys.argv[2]), place)
    else:
        main(int(os.environ['RANK']), int(os.environ['WORLD_SIZE']), place, False)
