"""A run of an ablation of an mmdet config: ``python -m tricks_plugin.ablate.mm_run SPEC.json``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..common.door import run_door
from ..plan.errors import FailedRunError
from .process import memory_mb, run_spec

__all__ = ['LIBRARIES', 'main', 'prepare', 'train']

LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'timm')


def prepare(spec: dict[str, Any]) -> Any:
    """The effective config of the run, with its seed and its folder.

    The last checkpoint alone is kept, without the optimizer's state, and none is chosen by its
    metric.

    Args:
        spec: As the engine writes it: ``config``, ``folder``, ``seed``, ``keep_checkpoint``.
    """
    from mmengine.config import Config

    from ..mm.config_edit import plain, run_length
    cfg = Config.fromfile(spec['config'], use_predefined_variables=False)
    cfg.work_dir = str(Path(spec['folder'], 'work'))
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': spec['seed']}
    cfg.resume = False
    cfg.launcher = 'none'
    hooks = dict(cfg.get('default_hooks') or {})
    known = hooks.get('checkpoint')
    if not spec['keep_checkpoint']:
        hooks['checkpoint'] = None
    elif known is None or isinstance(known, dict):
        length = run_length(plain(cfg))
        hooks['checkpoint'] = {
            **{key: value for key, value in (known or {}).items() if key in ('type', '_scope_')},
            'by_epoch': length is None or length.by_epoch, 'interval': -1, 'save_last': True,
            'save_optimizer': False, 'save_param_scheduler': False, 'max_keep_ckpts': 1}
        hooks['checkpoint'].setdefault('type', 'CheckpointHook')
    cfg.default_hooks = hooks
    return cfg


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Trains, and says what came of it.

    Raises:
        FailedRunError: If the last validation gave no value of the metric.
    """
    from mmdet.utils import setup_cache_size_limit_of_dynamo

    from ..mm.config_edit import plain, run_length
    from ..mm.runner import build_runner
    from .mm_record import RecordHook
    setup_cache_size_limit_of_dynamo()
    cfg = prepare(spec)
    length = run_length(plain(cfg))
    record = RecordHook(spec['metric'], length is None or length.by_epoch)
    runner = build_runner(cfg)
    runner.register_hook(record)
    runner.train()
    if record.validated != runner.iter:
        runner.val_loop.run()
    if record.value is None:
        raise FailedRunError(f'the last validation gave no {record.metric or "metric"}')
    return {
        'metric': record.metric, 'value': record.value, 'curve': record.curve,
        'seconds': record.curve[-1]['seconds'], 'memory_mb': memory_mb(),
        'parameters': record.parameters, 'weights': record.weights, 'order': record.order}


def main(argv: list[str] | None = None) -> int:
    """Runs a spec; the exit status is 2 for a wrong setting, and 1 for a failed training."""
    return run_spec(argv, train, LIBRARIES)


if __name__ == '__main__':
    sys.exit(run_door(main))
