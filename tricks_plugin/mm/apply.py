"""From a config and a wish for tricks to the effective config and its Plan."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..plan import Plan, RunFacts, Trick, TrickError, TrickPlan, Verdict, compare
from ..plan.recipes import Selection, select
from .config_edit import (
    append_hook,
    copy_plain,
    default_scope,
    find,
    get,
    old_form,
    plain,
    type_name,
)
from .ending import SHARED, shared_ending
from .named_batch import named_batch
from .run_facts import augmentation, run_facts

__all__ = ['apply_tricks']

_RUNNER = 'TricksRunner'
_HOOK = 'TrickEvidenceHook'


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
    wanted = _wanted(before, tricks)
    tree = copy_plain(before)
    tree.pop('tricks', None)
    if type_name(tree.get('runner_type', '')) == _RUNNER:
        _give_back_runner(tree, cfg.filename)
    facts = dataclasses.replace(run_facts(before), named_batch=_named_batch(before, cfg.text))
    rows, known = [], facts
    if shared := shared_ending(wanted.tricks):
        tree[SHARED] = shared
    for trick in wanted.tricks:
        tree, row = _apply_one(trick, tree, None if trick.name in wanted.named else known)
        rows.append(row)
        if row.status == 'applied':  # what a mosaic brought is there for the tricks after it
            known = dataclasses.replace(known, augmentation=augmentation(tree))
    tree.pop(SHARED, None)
    _add_evidence(tree, rows, wanted.strict)
    plan = Plan(cfg.filename or '', tuple(rows), before, tree, facts)
    effective = Config(tree, cfg_text=cfg.text, filename=cfg.filename,
                       env_variables=cfg.env_variables)
    return effective, plan


def _named_batch(cfg: dict[str, Any], text: str | None) -> tuple[int, str] | None:
    """The batch of the LR by the name of its file; None where it is not looked for."""
    lr, declared = get(cfg, 'optim_wrapper.optimizer.lr'), get(cfg, 'auto_scale_lr.base_batch_size')
    return named_batch(text or '', lr, declared) if isinstance(lr, float) and \
        isinstance(declared, int) else None


def _give_back_runner(tree: dict[str, Any], filename: str | None) -> None:
    """Puts the runner of the config's file in the place of ours, which an option has put there."""
    from mmengine.config import Config
    del tree['runner_type']
    if not filename:
        return
    try:
        own = plain(Config.fromfile(filename)).get('runner_type')
    except Exception:  # a config is a program, and may have been moved since
        return
    if own is not None and type_name(own) != _RUNNER:
        tree['runner_type'] = own


def _wanted(cfg: dict[str, Any], tricks: Any) -> Selection:
    """The tricks to apply, from the config or from beside it."""
    if tricks is None:
        return select(cfg.get('tricks'))
    if cfg.get('tricks') is not None:
        raise TrickError(
            'tricks are given twice: in the config under `tricks` and beside it; to change the '
            "config's, set tricks.NAME.PARAMETER with --cfg-options"
        )
    return select(tricks)


def _apply_one(trick: Trick, tree: dict[str, Any], advised: RunFacts | None,
               ) -> tuple[dict[str, Any], TrickPlan]:
    """Applies one trick to a copy, and keeps the copy only where the trick was applied.

    Args:
        trick: Which.
        tree: The config so far.
        advised: The run, where a recipe brought the trick and may hold it back; None for an order.

    Raises:
        TrickError: If an ordered trick has a parameter that cannot be used with this config.
    """
    edited = copy_plain(tree)
    try:
        verdict = trick.apply(edited)
    except TrickError as error:
        if advised is None:
            raise
        verdict = Verdict.not_applicable(f"the recipe's parameter does not fit this run: {error}")
    if verdict.status != 'applied':
        reason = verdict.reason
        if verdict.status == 'not_applicable' and (old := old_form(tree)):
            reason = f'{reason}: {old}'
        return tree, TrickPlan(trick.name, verdict.status, reason,
                               promise=verdict.promise)
    changes = tuple(compare(tree, edited))
    if not changes:
        reason = verdict.reason or 'the config has everything that this trick would set'
        return tree, TrickPlan(trick.name, 'present', reason, promise=verdict.promise)
    against = advised and trick.config_pays(tree, advised)
    if against:
        return tree, TrickPlan(trick.name, 'held_back', f'{against}; tricks.{trick.name}=True (or '
                               f'--tricks ...,{trick.name}) applies it all the same')
    # A parameter that was left open is what the trick's measurement is told of it.
    told = verdict.promise or {}
    parameters = {key: told.get(key) if value is None else value
                  for key, value in dataclasses.asdict(trick.params).items()}
    edited.setdefault('tricks_applied', {})[trick.name] = {
        key: value for key, value in parameters.items() if value is not None}
    changes = tuple(c for c in changes if not c.path.startswith('tricks_applied'))
    return edited, TrickPlan(trick.name, 'applied', verdict.reason, changes, verdict.promise)


def _add_evidence(tree: dict[str, Any], rows: list[TrickPlan], strict: bool) -> None:
    """Adds the hook that measures the tricks, or the new promises to the hook there.

    A trick that is present because an earlier application put it there keeps the promise that
    was made then.
    """
    promises = {row.name: {'name': row.name, 'promise': row.promise}
                for row in rows if row.promise is not None}
    if not promises:
        return
    present = {row.name for row in rows if row.status == 'present'}
    for _, hook in find(tree.get('custom_hooks'), _HOOK, scope=default_scope(tree)):
        known = {promise['name']: promise for promise in hook.get('tricks') or ()
                 if isinstance(promise, dict) and 'name' in promise}
        fresh = {name: promise for name, promise in promises.items()
                 if name not in present or name not in known}
        hook.update(tricks=list({**known, **fresh}.values()),
                    strict=strict or hook.get('strict', False))
        return
    append_hook(tree, {'type': f'tricks_plugin.{_HOOK}', 'tricks': list(promises.values()),
                       'strict': strict})
