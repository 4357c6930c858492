"""One run of an ablation of a timm model: ``python -m tricks_plugin.ablate.timm_run SPEC.json``."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.door import run_door
from ..plan.errors import FailedRunError, TrickError
from .process import memory_mb, run_spec
from .record import BATCHES, Clock, weights_digest
from .timm_settings import Effective, effective, flags_digest

if TYPE_CHECKING:
    from ..timm.run import Run

__all__ = ['LIBRARIES', 'Record', 'image_order', 'main', 'read', 'train']

LIBRARIES = ('torch', 'torchvision', 'timm')
_KEPT = 'last.pth.tar'


class Record:
    """Follows a training: every validation's metric with the training time so far.

    Args:
        metric: The one that counts.

    Attributes:
        curve: Every validation.
        clock: Training time without validation and checkpoints.
        weights: A digest of the initial weights.
        order: A digest of the first images and their order.
        parameters: How many the model has.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.curve: list[dict[str, Any]] = []
        self.clock = Clock()
        self.weights = self.order = ''
        self.parameters = 0
        self._updates = 0

    def begin(self, run: Run) -> None:
        """Notes what the training starts from."""
        self.weights, self.order = weights_digest(run.model), image_order(run)
        self.parameters = sum(one.numel() for one in run.model.parameters())
        self._updates = run.updates_per_epoch
        self.clock.start()

    def trained(self, epoch: int) -> None:
        """Stops the clock."""
        self.clock.stop()

    def validated(self, epoch: int, metrics: Mapping[str, float] | None) -> None:
        """Keeps the metrics, if a validation was due, and starts the clock again."""
        if metrics is not None:
            found = {name: float(value) for name, value in metrics.items()}
            self.curve.append({
                'epoch': epoch + 1, 'iteration': (epoch + 1) * self._updates,
                'seconds': self.clock.seconds, 'value': found[self.metric], 'metrics': found})
        self.clock.start()


def image_order(run: Run) -> str:
    """A digest of the images that the first epoch begins with, in their order.

    The loader's own draw, made once before: the numbers that it is made from are set again at the
    beginning of every epoch. Empty for data that is streamed.
    """
    import numpy as np
    import torch

    from ..timm.samples import seed_everything, set_epoch
    sampler = getattr(run.loader_train, 'batch_sampler', None)
    if sampler is None:
        return ''
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_everything(run.args.seed, run.start_epoch, run.args.rank)
    set_epoch(run.loader_train, run.start_epoch)
    count = min(BATCHES * run.args.batch_size, len(run.loader_train) * run.args.batch_size)
    flat = itertools.chain.from_iterable(iter(sampler))
    total = hashlib.sha256()
    for one in itertools.islice(flat, count):
        # Under scheduled sizes a sampler gives the image's number with its size.
        total.update(f'{one[-1] if isinstance(one, (tuple, list)) else one}\0'.encode())
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    return total.hexdigest()[:16]


def read(spec: dict[str, Any]) -> Effective:
    """The settings of a run's file.

    Raises:
        TrickError: If they come out otherwise on this machine.
    """
    content = json.loads(Path(spec['config']).read_text())
    found = effective(content['words'], content['ground'], content['tricks'])
    if flags_digest(found.args) != content['digest']:
        raise TrickError('the tricks set other flags here than where the ablation was planned: '
                         'files have changed since, or this machine has another GPU or none')
    return found


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Trains, and says what came of it.

    Raises:
        FailedRunError: If the loss has become no number, or the last epoch gave no metric.
        TrickError: If a setting is wrong.
    """
    from ..timm import checks
    from ..timm import train as trainer
    found = read(spec)
    ours = {'seed': spec['seed'], 'output': spec['folder'], 'experiment': 'work',
            'checkpoint_hist': 1}
    args = argparse.Namespace(**{**vars(found.args), **ours})
    asked = argparse.Namespace(**{**vars(found.asked), **ours})
    record = Record(spec['metric'])
    order = trainer.Order(args, asked, found.given, found.plan, found.strict,
                          checks.check(args, found.given))
    if trainer.train(order, record):
        raise FailedRunError('the loss or the weights are no numbers any more')
    if not record.curve:
        raise FailedRunError('no epoch was validated')
    for path in Path(spec['folder'], 'work').glob('*.pth.tar'):
        if path.name != _KEPT or not spec['keep_checkpoint']:
            path.unlink()
    last = record.curve[-1]
    return {
        'metric': record.metric, 'value': last['value'], 'curve': record.curve,
        'seconds': last['seconds'], 'memory_mb': memory_mb(), 'parameters': record.parameters,
        'weights': record.weights, 'order': record.order}


def main(argv: list[str] | None = None) -> int:
    """Runs a spec; the exit status is 2 for a wrong setting, and 1 for a failed training."""
    return run_spec(argv, train, LIBRARIES)


if __name__ == '__main__':
    sys.exit(run_door(main))
