"""The command `tricks ablate` with planning and trainings that cost nothing.

In a process of its own: ``python -m support.fake_ablation WISH [words of tricks ablate]``.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

from tricks_plugin.ablate.ablation import Ablation
from tricks_plugin.ablate.planned import Planned
from tricks_plugin.ablate.study import Rung, Study, Subject

CODE, VERSIONS = 'c0de', {'torch': '2'}


def planner(wish: dict[str, Any], calls: Path) -> types.ModuleType:
    """What stands in for `tricks_plugin.ablate.setup`.

    Args:
        wish: Rung to what becomes of its runs (see `fake_run`), all of them sharing ``all``.
        calls: The file that gets a line for each run.
    """
    shared = {'calls': str(calls), 'code': CODE, 'versions': VERSIONS, **wish.get('all', {})}

    def plan_ablation(args: argparse.Namespace, command: str) -> Ablation:
        planned = [
            Planned(Rung(name, name, None if name == 'plain' else [name],
                         None if name == 'plain' else 'plain',
                         same_as=own.get('same_as')),
                    own.get('settings', name), 'support.fake_run', json.dumps({**shared, **own}),
                    () if name == 'plain' else (name,), '.json')
            for name, own in wish.items() if name != 'all']
        seeds = tuple(range(args.first_seed, args.first_seed + args.seeds))
        study = Study(command, args.mode or 'single', args.metric or '', True, '%', 1.0, seeds,
                      (Subject('toy', 'a toy', tuple(one.rung for one in planned)),), ())
        return Ablation(study, {'toy': planned}, args.metric, {}, shared['versions'], args.greater)

    module = types.ModuleType('tricks_plugin.ablate.setup')
    module.plan_ablation = plan_ablation
    return module


if __name__ == '__main__':
    from tricks_plugin.ablate import identity
    from tricks_plugin.cli.ablate import main
    from tricks_plugin.common.door import run_door
    file = Path(sys.argv[1])
    sys.modules['tricks_plugin.ablate.setup'] = planner(
        json.loads(file.read_text()), file.with_name('calls.txt'))
    identity.code_digest = lambda: CODE
    sys.exit(run_door(lambda: main(sys.argv[2:])))
