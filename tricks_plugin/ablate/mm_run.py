"""One run of an ablation of an mmdet config: ``python -m tricks_plugin.ablate.mm_run SPEC.json``.

The result file is written last, so a run that was ended before leaves nothing that counts.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..common.door import run_door
from ..common.files import write_json
from ..common.finite import json_safe
from ..evidence.monitor import FILE
from ..plan.errors import FailedRunError
from .identity import code_digest, machine, versions

__all__ = ['LIBRARIES', 'checks', 'die_with', 'main', 'memory_mb', 'prepare']

LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'timm')


def die_with(parent: int | None) -> None:
    """Ends this process soon after another one is gone.

    Args:
        parent: That process, which has started this one; None leaves it alone.
    """
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def prepare(spec: dict[str, Any]) -> Any:
    """The effective config of the run, with its seed and its folder.

    The last checkpoint alone is kept, without the optimizer's state, and none is chosen by its
    metric.

    Args:
        spec: As the engine writes it: ``config``, ``folder``, ``seed``, ``keep_checkpoint``.
    """
    from mmengine.config import Config
    cfg = Config.fromfile(spec['config'])
    cfg.work_dir = str(Path(spec['folder'], 'work'))
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': spec['seed']}
    cfg.resume = False
    cfg.launcher = 'none'
    hooks = dict(cfg.get('default_hooks') or {})
    known = hooks.get('checkpoint')
    if not spec['keep_checkpoint']:
        hooks['checkpoint'] = None
    elif known is None or isinstance(known, dict):
        hooks['checkpoint'] = {
            **{key: value for key, value in (known or {}).items()
               if key in ('type', 'by_epoch', '_scope_')},
            'interval': -1, 'save_last': True, 'save_optimizer': False,
            'save_param_scheduler': False, 'max_keep_ckpts': 1}
        hooks['checkpoint'].setdefault('type', 'CheckpointHook')
    cfg.default_hooks = hooks
    return cfg


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Trains, and says what came of it.

    Raises:
        FailedRunError: If no validation gave the metric.
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
    if not record.curve or record.curve[-1]['iteration'] != runner.iter:
        runner.val_loop.run()
    if not record.curve or record.metric is None:
        raise FailedRunError(f'no validation gave the metric {record.metric or ""}'.rstrip())
    return {
        'metric': record.metric, 'value': record.curve[-1]['value'], 'curve': record.curve,
        'seconds': record.seconds, 'memory_mb': memory_mb(), 'parameters': record.parameters,
        'weights': record.weights, 'order': record.order}


def memory_mb() -> float:
    """Peak memory of this process: the GPU's where there is one."""
    import torch
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def checks(folder: Path, planned: list[str]) -> list[dict[str, Any]]:
    """What the evidence of a run says of each trick.

    Args:
        folder: Its work dir.
        planned: The tricks that were promised a measurement.
    """
    path = folder / FILE
    found = {one['name']: one for one in
             (json.loads(path.read_text())['tricks'] if path.is_file() else [])}
    return [{'trick': name, 'live': found[name]['live'], 'text': found[name]['measured']}
            if name in found else {'trick': name, 'live': None, 'text': 'not measured'}
            for name in dict.fromkeys([*planned, *found])]


def main(argv: list[str] | None = None) -> int:
    """Runs a spec; the exit status is 2 for a wrong setting, and 1 for a failed training."""
    spec = json.loads(Path((argv or sys.argv[1:])[0]).read_text())
    die_with(spec.get('parent'))
    began = time.perf_counter()
    result = train(spec)
    folder = Path(spec['folder'])
    write_json(folder / 'result.json', json_safe({
        **result, 'subject': spec['subject'], 'rung': spec['rung'], 'seed': spec['seed'],
        'settings': spec['settings'], 'code': code_digest(), 'versions': versions(*LIBRARIES),
        'machine': machine(), 'wall_seconds': time.perf_counter() - began,
        'checks': checks(folder / 'work', spec['planned'])}))
    return 0


if __name__ == '__main__':
    sys.exit(run_door(main))
