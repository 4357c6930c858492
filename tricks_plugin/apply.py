"""From a config and a wish for tricks to the effective config and its Plan."""

from __future__ import annotations

import dataclasses
from typing import Any

from .config_edit import copy_plain, plain
from .errors import TrickError
from .plan import Plan, TrickPlan, compare
from .recipes import select
from .tricks import Trick

__all__ = ['apply_tricks']

_RUNNER = 'TricksRunner'
_EVIDENCE_HOOK = 'tricks_plugin.TrickEvidenceHook'


def apply_tricks(cfg: Any, tricks: Any = None) -> tuple[Any, Plan]:
    """Applies tricks to an mmengine config.

    Args:
        cfg: A Config of either style, text or pure Python. It is not changed.
        tricks: A recipe's or trick's name, a dict of trick names to parameters, or a list of
            these; None takes ``cfg.tricks``.

    Returns:
        ``(effective, plan)``. The effective config is an ordinary mmengine config without
        ``tricks``: it holds registered components and records what was applied under
        ``tricks_applied``. Applying the same tricks to it again changes nothing.

    Raises:
        TrickError: If the wish names an unknown trick, recipe or parameter, a value out of
            bounds, the same trick twice, or two that exclude each other.
        TypeError: If ``cfg`` is no mmengine Config.
    """
    from mmengine.config import Config
    if not isinstance(cfg, Config):
        raise TypeError(f'cfg must be an mmengine Config, got {type(cfg).__name__}')
    before = plain(cfg)
    wanted, strict = _wanted(before, tricks)
    tree = copy_plain(before)
    tree.pop('tricks', None)
    if str(tree.get('runner_type', '')).rsplit('.', 1)[-1] == _RUNNER:
        del tree['runner_type']
    rows = []
    for trick in wanted:
        tree, row = _apply_one(trick, tree)
        rows.append(row)
    _add_evidence(tree, rows, strict)
    plan = Plan(cfg.filename or '', tuple(rows), before, tree)
    effective = Config(tree, cfg_text=cfg.text, filename=cfg.filename,
                       env_variables=cfg.env_variables)
    return effective, plan


def _wanted(cfg: dict[str, Any], tricks: Any) -> tuple[list[Trick], bool]:
    """The tricks to apply, in their order, and whether a dead trick stops the run."""
    if tricks is None:
        tricks = cfg.get('tricks')
        if tricks is None:
            return [], False
    elif cfg.get('tricks') is not None:
        raise TrickError(
            'tricks are given twice: in the config under `tricks` and beside it; to change the '
            "config's, set tricks.NAME.PARAMETER with --cfg-options"
        )
    selected, options = select(tricks)
    return selected, options['strict']


def _apply_one(trick: Trick, tree: dict[str, Any]) -> tuple[dict[str, Any], TrickPlan]:
    """Applies one trick to a copy, and keeps the copy only where the trick was applied."""
    edited = copy_plain(tree)
    verdict = trick.apply(edited)
    if verdict.status != 'applied':
        return tree, TrickPlan(trick.name, verdict.status, verdict.reason)
    changes = tuple(compare(tree, edited))
    if not changes:
        reason = verdict.reason or 'the config has everything that this trick would set'
        return tree, TrickPlan(trick.name, 'present', reason)
    record = edited.setdefault('tricks_applied', {})
    parameters = {
        key: value for key, value in dataclasses.asdict(trick.params).items() if value is not None
    }
    record[trick.name] = {**parameters, **record.get(trick.name, {})}
    changes = tuple(c for c in changes if not c.path.startswith('tricks_applied'))
    return edited, TrickPlan(trick.name, 'applied', verdict.reason, changes, verdict.evidence)


def _add_evidence(tree: dict[str, Any], rows: list[TrickPlan], strict: bool) -> None:
    """Adds the hook that measures the applied tricks, or the new ones to the hook there."""
    promises = [
        {'name': row.name, 'evidence': row.evidence} for row in rows if row.status == 'applied'
    ]
    if not promises:
        return
    hooks = list(tree.get('custom_hooks') or [])
    for index, hook in enumerate(hooks):
        if isinstance(hook, dict) and hook.get('type') == _EVIDENCE_HOOK:
            names = {promise['name'] for promise in promises}
            kept = [promise for promise in hook['tricks'] if promise['name'] not in names]
            hooks[index] = {**hook, 'tricks': kept + promises,
                            'strict': strict or hook.get('strict', False)}
            break
    else:
        hooks.append({'type': _EVIDENCE_HOOK, 'tricks': promises, 'strict': strict})
    tree['custom_hooks'] = hooks
