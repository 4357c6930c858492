"""From timm's settings and a wish for tricks to the settings of the run and the Plan."""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from ..plan import Plan, RunFacts, TrickPlan, compare
from ..plan.errors import TrickError
from ..plan.recipes import as_mapping, select
from ..plan.trick import Trick
from .facts import facts
from .ground import ground
from .run_facts import run_facts

__all__ = ['plan_tricks']


def plan_tricks(
    args: argparse.Namespace, given: Collection[str], tricks: Any, config: str = '',
    machine: Mapping[str, bool] | None = None, settled: Mapping[str, Any] | None = None,
) -> tuple[argparse.Namespace, Plan, bool]:
    """Applies tricks to the settings of a timm training; what the user set himself stands.

    Args:
        args: Every setting by name. Not changed.
        given: The names of those that the user set, on the command line or in a config file.
        tricks: A recipe's or trick's name, several with commas, a dict of trick names to
            parameters, or a list of these; None for no tricks.
        config: The config file, for the plan's title.
        machine: What the machine to train on has, ``gpu`` and ``bfloat16``; None for this one.
        settled: Settings that ``args`` has for this and other runs alike, which no recipe's ground
            changes; see `ablate.timm_settings.shared_ground`.

    Returns:
        ``(settings, plan, strict)``. A change's path is the setting's name. A recipe that trains
        with more than its tricks has a row of its own name, before theirs.

    Raises:
        TrickError: If the wish names an unknown trick, recipe or parameter, a value out of bounds,
            two tricks that exclude each other, or a schedule beside the user's own; if a recipe's
            schedule does not fit the run.
    """
    selected = select(tricks)
    before = copy.deepcopy(vars(args))
    now, rows, recipes = before, [], []
    for name in selected.recipes:
        wanted = ground(name, {**now, **facts(now)})
        others = [key for key, value in wanted.items()
                  if key in (settled or {}) and not _agrees(now.get(key), value)]
        if wanted:
            now, row = _plan_recipe(name, {key: value for key, value in wanted.items()
                                           if key not in others}, now, frozenset(given))
            words = [f'{_as_given(key, now.get(key))} is that of all that is compared, where this '
                     f'recipe has {wanted[key]}' for key in others]
            recipes.append(dataclasses.replace(row, reason='; '.join(
                [*words, *([row.reason] if not words or row.changes else [])])))
    run, wish = run_facts(now), as_mapping(tricks)
    for trick in selected.tricks:
        ordered = trick.name in selected.named
        own = wish.get(trick.name) if ordered else None
        trick, missing = _possible(trick, own if isinstance(own, dict) else ())
        now, row = _plan_one(trick, now, frozenset(given), machine or {},
                             None if ordered else run, missing)
        rows.append(row)
        if recipes and trick.timm_rules()[0] == 'sched' and row.status == 'not_applicable' \
                and 'sched' not in given:
            raise TrickError(f'--tricks {recipes[0].name} is nothing without {trick.name}: '
                             f"{row.reason}, got --epochs {now['epochs']}")
    # The promises follow from the settings that all tricks together have left.
    rows = [row if row.status not in ('applied', 'present') else dataclasses.replace(
        row, promise=trick.timm_promise({**now, **facts(now)}))
        for row, trick in zip(rows, selected.tricks, strict=True)]
    plan = Plan(config, tuple(rows), before, now, run, tuple(recipes))
    return argparse.Namespace(**copy.deepcopy(now)), plan, selected.strict


def _plan_recipe(
    name: str, wanted: dict[str, Any], now: dict[str, Any], given: frozenset[str],
) -> tuple[dict[str, Any], TrickPlan]:
    """The settings with what a recipe trains with beside its tricks, and its row."""
    kept = [key for key, value in wanted.items()
            if key in given and not _agrees(now.get(key), value)]
    after = {**now, **{key: value for key, value in wanted.items() if key not in kept}}
    stands = '; '.join(f'{_as_given(key, now[key])} is yours and stands' for key in kept)
    changes = tuple(compare(_frozen(now), _frozen(after)))
    reason = stands or ('the paper trains with it beside the tricks' if changes else
                        'what the paper trains with beside the tricks is set already')
    return after, TrickPlan(name, 'applied' if changes else 'present', reason, changes)


def _plan_one(
    trick: Trick, now: dict[str, Any], given: frozenset[str], machine: Mapping[str, bool],
    advised: RunFacts | None, missing: Collection[str] = (),
) -> tuple[dict[str, Any], TrickPlan]:
    """The settings after one trick, and its row.

    Args:
        trick: Which, as `_possible` leaves it.
        now: The settings so far.
        given: The names of the user's own.
        machine: What the machine to train on has.
        advised: The run, where a recipe brought the trick and may hold it back; None for an order.
        missing: A recipe's parameters that were left out.

    Raises:
        TrickError: If an ordered trick has a parameter that cannot be used with these settings, or
            if the user's own settings are at odds.
    """
    view = {**now, **facts(now), **machine}
    try:
        wanted = trick.timm_args(copy.deepcopy(view), given)
    except TrickError as error:
        if advised is None or not str(error).startswith(f'tricks.{trick.name}.'):
            raise
        wanted = f"the recipe's parameter does not fit this run: {error}"
    if not isinstance(wanted, dict):
        reason = wanted or f"timm's script cannot do it: {trick.title}"
        return now, TrickPlan(trick.name, 'not_applicable', reason)
    main, derives = trick.timm_rules()
    kept = [key for key, value in wanted.items() if key in given
            and key not in derives and not _agrees(now.get(key), value)]
    stands = '; '.join([*(f'{_as_given(key, now.get(key))} is yours and stands' for key in kept),
                        *(f'{name} means nothing under timm' for name in trick.timm_unused()),
                        *(f"the recipe's {one} is left out, as timm cannot do it"
                          for one in missing)])
    if main in kept and (main == 'sched' or not now[main]):
        if main == 'sched' and advised is None:
            raise TrickError(
                f'tricks.{trick.name} and {_as_given(main, now[main])} are two schedules, and a '
                f'run has one: leave --sched out, or the trick, got sched={now[main]!r}')
        words = _as_given(main, now[main])
        return now, TrickPlan(trick.name, 'not_applicable', f'{words} is yours and stands')
    new = {key: value for key, value in wanted.items()
           if key not in kept and not (key in now and _equal(now[key], value))}
    after = {**now, **copy.deepcopy(new)}
    note = trick.timm_note(view, {**view, **after, **facts(after)})
    changes = tuple(compare(_frozen(now), _frozen(after)))
    if changes:
        against = advised and trick.timm_pays(view, advised)
        if against:
            return now, TrickPlan(trick.name, 'held_back', f'{against}; --tricks ...,{trick.name} '
                                  'applies it all the same')
        reason = '; '.join(filter(None, [note, stands]))
        return after, TrickPlan(trick.name, 'applied', reason, changes)
    if not note and not stands:
        yours = [_as_given(key, now[key]) for key in wanted if key in given]
        note = f'{", ".join(yours)} is yours already' if yours else 'timm does so by default'
    return now, TrickPlan(trick.name, 'present', '; '.join(filter(None, [note, stands])))


def _possible(trick: Trick, own: Collection[str]) -> tuple[Trick, list[str]]:
    """A trick without what recipes set and timm cannot do; the user's parameters stay.

    Args:
        trick: Which.
        own: The names of the parameters that the user set.

    Returns:
        ``(trick, left out)``, see `Trick.timm_advised`.
    """
    without, missing = trick.timm_advised()
    if not missing:
        return trick, []
    kept = {name: getattr(trick.params, name) for name in own}
    return type(trick)(dataclasses.replace(without.params, **kept)), [
        one for one in missing if one.partition('=')[0].rpartition('.')[2] not in own]


def _equal(left: Any, right: Any) -> bool:
    """Whether two settings mean the same: 0 and 0.0 do, True and 1 do not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _agrees(own: Any, wanted: Any) -> bool:
    """Whether what a trick wants leaves the user's value as it is; a dict may grow."""
    if isinstance(own, dict) and isinstance(wanted, dict):
        return all(key in wanted and _equal(value, wanted[key]) for key, value in own.items())
    return _equal(own, wanted)


def _frozen(settings: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, which a comparison takes as one value."""
    return {key: tuple(value) if isinstance(value, list) else value
            for key, value in settings.items()}


def _as_given(key: str, value: Any) -> str:
    """A setting as the user wrote it: a flag, or what only a config file can say."""
    flag = f'--{key.replace("_", "-")}'
    if value is True:
        return flag
    if value is False or value is None:
        return f'{key}: {"null" if value is None else "false"} in the config file'
    if isinstance(value, dict):
        value = [f'{name}={item}' for name, item in value.items()]
    return ' '.join([flag, *map(str, value if isinstance(value, (list, tuple)) else [value])])
