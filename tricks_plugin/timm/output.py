"""What a timm training leaves: timm's checkpoints, summary.csv and args.yaml."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from timm import utils
from timm.models import safe_model_name
from timm.utils.summary import trim_summary

from .run import Run

__all__ = ['Output']

_logger = logging.getLogger('tricks_plugin')


class Output:
    """The output folder of a training, on the primary process.

    Sets ``run.output_dir`` and ``run.saver``. A training that resumes from a checkpoint in the
    same folder goes on with its ranking of checkpoints and its summary, without the rows of
    epochs that are trained again.

    Args:
        run: The training.
        text: The settings, for ``args.yaml``.
        plan: The tricks' plan as JSON holds it, or None.
    """

    def __init__(self, run: Run, text: str, plan: dict[str, Any] | None) -> None:
        args = run.args
        self.run = run
        self.metric = args.eval_metric if run.loader_eval is not None else 'loss'
        self.results: list[dict[str, Any]] = []
        self.best: tuple[Any, Any] = (None, None)
        name = args.experiment or '-'.join([
            datetime.now().strftime('%Y%m%d-%H%M%S'), safe_model_name(args.model),
            str(run.data_config['input_size'][-1])])
        folder = Path(utils.get_outdir(args.output or './output/train', name))
        run.output_dir = folder
        run.saver = utils.CheckpointSaver(
            model=run.task.get_trainable_module(), optimizer=run.optimizer, args=args,
            amp_scaler=run.loss_scaler, checkpoint_dir=str(folder), recovery_dir=str(folder),
            decreasing=self.metric == 'loss', max_history=args.checkpoint_hist, task=run.task)
        if args.resume and Path(args.resume).resolve().parent == folder.resolve():
            _restore(run.saver, args.resume)
        trim_summary(str(folder / 'summary.csv'), run.start_epoch)
        (folder / 'args.yaml').write_text(text)
        if plan is not None:
            (folder / 'tricks_plan.json').write_text(json.dumps(plan, indent=2) + '\n')
        if args.log_wandb:
            _start_wandb(args, name)
        _logger.info('output: %s', folder)

    def epoch(self, epoch: int, train: dict[str, float], val: dict[str, float] | None) -> float:
        """Writes an epoch's row and checkpoint; returns the metric that ranks it."""
        run = self.run
        folder = run.output_dir
        groups = run.optimizer.param_groups
        utils.update_summary(
            epoch, train, val, filename=str(folder / 'summary.csv') if folder else '',
            lr=sum(group['lr'] for group in groups) / len(groups), log_wandb=run.args.log_wandb)
        metric = (val or train)[self.metric]
        self.best = run.saver.save_checkpoint(epoch, metric=metric)
        found: dict[str, Any] = {'epoch': epoch, 'train': train}
        if val is not None:
            found['validation'] = val
        self.results.append(found)
        words = '  '.join(f'{name} {value:.4g}' for name, value in (val or {}).items())
        _logger.info('epoch %d: train loss %.4g  %s', epoch, train['loss'],
                     f'validation {words}' if words else '')
        return float(metric)

    def close(self) -> None:
        """Prints the ten best epochs as JSON behind ``--result``, as timm's script does."""
        metric, epoch = self.best
        if metric is not None:
            _logger.info('best %s: %.4g (epoch %s)', self.metric, metric, epoch)
        ranked = sorted(self.results, reverse=self.metric == 'loss',
                        key=lambda found: found.get('validation', found['train'])[self.metric])
        print(f'--result\n{json.dumps(ranked[-10:], indent=4)}')


def _restore(saver: Any, checkpoint: str) -> None:
    """Has the saver go on with the ranking that a checkpoint holds."""
    if hasattr(torch.serialization, 'safe_globals'):
        saver.load_state_dict_from_checkpoint(checkpoint)
        return
    # timm's method loads by a list of safe classes, which torch before 2.4 has not.
    state = torch.load(checkpoint, map_location='cpu', weights_only=False).get('saver')
    if state is not None:
        saver.load_state_dict(state)


def _start_wandb(args: Any, name: str) -> None:
    try:
        import wandb
    except ImportError:
        _logger.warning('--log-wandb: wandb is not installed, nothing is logged to it')
        args.log_wandb = False
        return
    wandb.init(project=args.wandb_project, name=name, config=vars(args), tags=args.wandb_tags,
               resume='must' if args.wandb_resume_id else None, id=args.wandb_resume_id or None)
