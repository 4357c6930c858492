"""What a timm training leaves: timm's checkpoints, summary.csv and args.yaml."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from timm import utils
from timm.models import safe_model_name
from timm.utils.summary import trim_summary

from ..common.files import json_safe, write_text
from ..common.finite import is_finite
from ..evidence.monitor import FILE as EVIDENCE
from ..plan.errors import TrickError
from .boundary import naming
from .run import Run

__all__ = ['Output', 'writing']

_logger = logging.getLogger('tricks_plugin')
_PLAN = 'tricks_plan.json'


class Output:
    """The output folder of a training, on the primary process.

    Sets ``run.output_dir`` and ``run.saver``. A training that resumes from a checkpoint in the
    same folder goes on with its ranking of checkpoints and its summary, without the rows of
    epochs that are trained again. What another run has measured there is taken away, and, if this
    one neither has a plan nor resumes, its plan.

    Args:
        run: The training.
        text: The settings, for ``args.yaml``.
        plan: The tricks' plan as JSON holds it, or None.
        kept: The settings as checkpoints keep them; None for the run's own.

    Raises:
        TrickError: If the folder cannot be written, or the checkpoint's ranking not read.
    """

    def __init__(self, run: Run, text: str, plan: dict[str, Any] | None,
                 kept: argparse.Namespace | None = None) -> None:
        args = run.args
        self.run = run
        self.metric = args.eval_metric if run.loader_eval is not None else 'loss'
        self.results: list[dict[str, Any]] = []
        self.best: tuple[Any, Any] = (None, None)
        name = args.experiment or '-'.join([
            datetime.now().strftime('%Y%m%d-%H%M%S'), safe_model_name(args.model),
            str(run.data_config['input_size'][-1])])
        with naming(f'--output {args.output or "./output/train"} with --experiment {name}'):
            folder = Path(utils.get_outdir(args.output or './output/train', name))
            trim_summary(str(folder / 'summary.csv'), run.start_epoch)
            write_text(folder / 'args.yaml', text)
            if plan is not None:
                write_text(folder / _PLAN, json.dumps(plan, indent=2) + '\n')
            elif not args.resume:
                (folder / _PLAN).unlink(missing_ok=True)
            (folder / EVIDENCE).unlink(missing_ok=True)
        run.output_dir = folder
        run.saver = utils.CheckpointSaver(
            model=run.task.get_trainable_module(), optimizer=run.optimizer, args=kept or args,
            amp_scaler=run.loss_scaler, checkpoint_dir=str(folder), recovery_dir=str(folder),
            decreasing=self.metric == 'loss', max_history=args.checkpoint_hist, task=run.task)
        if args.resume and Path(args.resume).resolve().parent == folder.resolve():
            with naming(f'--resume {args.resume}'):
                _restore(run.saver, args.resume)
        self.wandb = bool(args.log_wandb) and _start_wandb(args, name)
        _logger.info('output: %s', folder)

    def epoch(self, epoch: int, train: dict[str, float], val: dict[str, float] | None) -> float:
        """Writes an epoch's row and checkpoint; returns the metric that ranks it.

        An epoch with a loss or metric that is not finite is kept without a rank: it never becomes
        the best.

        Raises:
            TrickError: If a file cannot be written.
        """
        run = self.run
        metric = (val or train)[self.metric]
        groups = run.optimizer.param_groups
        found: dict[str, Any] = {'epoch': epoch, 'train': train}
        if val is not None:
            found['validation'] = val
        self.results.append(found)
        sound = _sound(found)
        with writing(run, f'epoch {epoch}'):
            utils.update_summary(
                epoch, train, val, filename=str(run.output_dir / 'summary.csv')
                if run.output_dir else '', lr=sum(group['lr'] for group in groups) / len(groups),
                log_wandb=self.wandb)
            self.best = run.saver.save_checkpoint(epoch, metric=metric if sound else None)
        words = '  '.join(f'{name} {value:.4g}' for name, value in (val or {}).items())
        _logger.info('epoch %d: train loss %.4g  %s', epoch, train['loss'],
                     f'validation {words}' if words else '')
        if not sound:
            _logger.warning('epoch %d has numbers that are not finite: its checkpoint gets no rank',
                            epoch)
        return float(metric)

    def close(self) -> None:
        """Prints the ten best epochs as JSON behind ``--result``, as timm's script does."""
        metric, epoch = self.best
        if metric is not None:
            _logger.info('best %s: %.4g (epoch %s)', self.metric, metric, epoch)
        ranked = sorted(self.results, key=self._rank)
        print(f'--result\n{json.dumps(json_safe(ranked[-10:]), indent=4, allow_nan=False)}')

    def _rank(self, found: dict[str, Any]) -> tuple[bool, float]:
        """Sorts the best epoch to the end and those without a rank to the start."""
        metric = float(found.get('validation', found['train'])[self.metric])
        if not _sound(found):
            return False, 0.0
        return True, -metric if self.metric == 'loss' else metric


def _sound(found: dict[str, Any]) -> bool:
    """Whether all numbers of an epoch are finite, so that it can be the best."""
    return all(is_finite(value) for part in ('train', 'validation')
               for value in found.get(part, {}).values())


@contextmanager
def writing(run: Run, what: str) -> Iterator[None]:
    """Names the output folder where a file cannot be written, and takes the half-written one away.

    Args:
        run: The training.
        what: What is written, for the message.
    """
    try:
        with naming(f'--output {run.output_dir}: {what} cannot be written'):
            yield
    except TrickError:
        if run.output_dir is not None:
            for name in ('tmp.pth.tar', 'recovery_tmp.pth.tar'):
                with suppress(OSError):
                    (run.output_dir / name).unlink(missing_ok=True)
        raise


def _restore(saver: Any, checkpoint: str) -> None:
    """Has the saver go on with the ranking that a checkpoint holds."""
    if hasattr(torch.serialization, 'safe_globals'):
        saver.load_state_dict_from_checkpoint(checkpoint)
        return
    # timm's method loads by a list of safe classes, which torch before 2.4 has not.
    state = torch.load(checkpoint, map_location='cpu', weights_only=False).get('saver')
    if state is not None:
        saver.load_state_dict(state)


def _start_wandb(args: argparse.Namespace, name: str) -> bool:
    """Starts logging to Weights & Biases; returns whether it is there."""
    try:
        import wandb
    except ImportError:
        _logger.warning('--log-wandb: wandb is not installed, nothing is logged to it')
        return False
    with naming('--log-wandb'):
        wandb.init(project=args.wandb_project, name=name, config=vars(args), tags=args.wandb_tags,
                   resume='must' if args.wandb_resume_id else None,
                   id=args.wandb_resume_id or None)
    return True
