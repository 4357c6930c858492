"""Stands in for a training: ``python -m support.fake_run SPEC.json``; needs nothing but Python.

Its settings say what becomes of it, by seed where that matters: ``value``, ``gives`` (the name of
its metric), ``absent`` (COCO's -1), ``fail``, ``status``, ``dead``, ``nan``, ``hang``, ``die_with``
(end with the ablation, as real runs do).
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text())
    wish = json.loads(Path(spec['config']).read_text())
    seed, folder = spec['seed'], Path(spec['folder'])
    with open(wish['calls'], 'a') as file:
        print(spec['rung'], seed, os.getpid(), file=file)
    if wish.get('die_with'):
        from tricks_plugin.ablate.process import die_with
        die_with(spec['parent'])
    print('epoch 1')
    if seed in wish.get('hang', ()):
        time.sleep(60)
    if seed in wish.get('fail', ()):
        print('Traceback ...\nRuntimeError: the reason', file=sys.stderr)
        return wish.get('status', 1)
    if wish.get('metric') and spec['metric'] != wish['metric']:
        print(f"error: --metric: unknown metric {spec['metric']!r}", file=sys.stderr)
        return 2
    value = -1.0 if seed in wish.get('absent', ()) else wish.get('value', 50.0) + seed
    dead = seed in wish.get('dead', ())
    result = {
        'metric': wish.get('gives', 'top1'),
        'value': None if seed in wish.get('nan', ()) else value,
        'curve': [{'epoch': 1, 'iteration': 10, 'seconds': 3.0, 'value': value, 'metrics': {}}],
        'seconds': 3.0, 'memory_mb': 100.0, 'parameters': 11, 'weights': 'w', 'order': 'o',
        'subject': spec['subject'], 'rung': spec['rung'], 'seed': seed,
        'settings': spec['settings'], 'code': wish['code'], 'versions': wish['versions'],
        'machine': 'here', 'wall_seconds': 4.0,
        'checks': [{'trick': name, 'live': not dead, 'text': ''} for name in spec['planned']]}
    (folder / 'result.json').write_text(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
