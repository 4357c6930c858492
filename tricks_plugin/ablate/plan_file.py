"""The file ``plan.json`` of an ablation's folder: whether it is one, and what tells two apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from ..plan.errors import TrickError
from .study import Mode, Study

__all__ = ['differences', 'read_plan']


def read_plan(path: Path) -> dict[str, Any] | None:
    """What is planned; None where there is no file.

    Args:
        path: The file.

    Raises:
        TrickError: If it cannot be read, is damaged, or is another program's.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise TrickError(f'{path} cannot be read: {error}; give another folder by --out, or '
                         'remove the file') from error
    if fault := _fault(content):
        raise TrickError(f'{path} is no plan of an ablation, or a damaged one: {fault}; give '
                         'another folder by --out')
    found: dict[str, Any] = content
    return found


def _fault(content: Any) -> str:
    """What keeps a JSON value from being a plan; empty where nothing does."""
    if not isinstance(content, dict):
        return f'it holds no object but {type(content).__name__} at its top'
    if missing := [key for key in ('study', 'identity', 'code') if key not in content]:
        return f'it has no {missing[0]!r}'
    try:
        study = Study.from_dict(content['study'])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"its 'study' is another: {type(error).__name__}: {error}"
    if odd := _odd_setting(study, content.get('greater')):
        return f'its {odd} is another'
    for subject in study.subjects:
        for rung in subject.rungs:
            try:
                if isinstance(content['identity'][subject.name][rung.name], str):
                    continue
            except (KeyError, TypeError, IndexError):
                pass
            return f"its 'identity' does not have rung {rung.name!r} of {subject.name!r}"
    return ''


def _odd_setting(study: Study, greater: Any) -> str:
    """The name of a setting that no plan has so; empty where all are of their kind."""
    rungs = [rung for subject in study.subjects for rung in subject.rungs]
    names = [one.name for one in study.subjects] + [one.name for one in rungs]
    rows = [row for rung in rungs for row in rung.plan]
    return next((name for name, right in (
        ('mode', study.mode in get_args(Mode)),
        ('metric', isinstance(study.metric, str)),
        ('command', isinstance(study.command, str)),
        ('seeds', bool(study.seeds) and all(type(seed) is int for seed in study.seeds)),
        ('subjects', bool(study.subjects) and all(one.rungs for one in study.subjects)
         and all(isinstance(name, str) for name in names)),
        ('plan', all(isinstance(row, dict) and {'name', 'status', 'reason'} <= row.keys()
                     for row in rows)),
        ('notes', all(isinstance(note, str) for note in study.notes)),
        ('environment', isinstance(study.environment, dict)),
        ('greater', greater in (None, True, False)),
    ) if not right), '')


def differences(known: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """What differs between two plans, by name.

    Seeds and the command may; arms may be added; and a rung may be left out, or come, that changes
    nothing here or changed nothing there: that may depend on the machine.
    """
    odd = []
    grows = known['study']['mode'] == plan['study']['mode'] == 'arms'
    for key, flag in (('mode', '--mode'), ('metric', '--metric')):
        if known['study'][key] != plan['study'][key]:
            odd.append(f'{flag} {known["study"][key] or "the default"!s}, here '
                       f'{plan["study"][key] or "the default"!s}')
    for name in {**known['identity'], **plan['identity']}:
        before, after = (one['identity'].get(name) for one in (known, plan))
        if before is None or after is None:
            odd.append(f'{name} is {"new" if before is None else "not asked for"} here')
            continue
        idle, was_idle = (one.get('idle', {}).get(name, ()) for one in (plan, known))
        for rung in {**before, **after}:
            if rung in idle and rung not in after or rung in was_idle and rung not in before:
                continue
            if before.get(rung) != after.get(rung) and not (grows and rung not in before):
                what = ('new here' if rung not in before else 'not asked for here'
                        if rung not in after else 'of other settings here')
                odd.append(f'rung {rung} of {name} is {what}')
    return odd
