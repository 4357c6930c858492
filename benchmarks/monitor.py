"""What `DataBottleneckHook` takes of an iteration, beside a training's own hooks.

    python benchmarks/monitor.py [--iterations 20000] [--step-ms 100]

The hook's two calls of an iteration are timed as mmengine's Runner makes them, the look at the
figures and the scalar of every tenth iteration included, in processor time of this process. The
training itself is a clock: nothing else is done between the calls. The measurement of samples, once
in a run that waits, is a worker process of its own and not in it.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import types
from typing import Any

import torch
from mmengine.logging import MessageHub

import tricks_plugin.registry  # noqa: F401
from tricks_plugin.tricks.data_monitor.hook import DataBottleneckHook

NOWHERE = f'{tempfile.gettempdir()}/no_such_folder'


def runner_of(iterations: int) -> Any:
    """As much of a Runner as the hook reads."""
    loader = torch.utils.data.DataLoader(torch.zeros(64, 1), batch_size=8)
    return types.SimpleNamespace(
        train_dataloader=loader, model=torch.nn.Linear(1, 1), max_iters=iterations, rank=0,
        message_hub=MessageHub.get_instance('monitor_benchmark'), work_dir=NOWHERE,
        logger=logging.getLogger('monitor_benchmark'))


def microseconds(iterations: int) -> float:
    """What an iteration's calls take."""
    hook, runner = DataBottleneckHook(threshold=0.999), runner_of(iterations)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    begin = time.process_time()
    for index in range(iterations):
        hook.before_train_iter(runner, index, None)
        hook.after_train_iter(runner, index, None, None)
    return 1e6 * (time.process_time() - begin) / iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iterations', type=int, default=20000)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--step-ms', type=float, default=100, help='of an iteration')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    if args.iterations < 1 or args.rounds < 1 or not args.step_ms > 0:
        parser.error('--iterations and --rounds must be >= 1, --step-ms > 0')
    taken = statistics.median(microseconds(args.iterations) for _ in range(args.rounds))
    share = taken / 1e3 / args.step_ms
    if args.json:
        print(json.dumps(dict(microseconds=taken, step_ms=args.step_ms, share=share)))
    else:
        print(f'{taken:.2f} us an iteration: {share:.4%} of {args.step_ms:g} ms')


if __name__ == '__main__':
    main()
