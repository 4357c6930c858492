"""From a wish for tricks to the rungs of an ablation."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import as_mapping, select, split_names
from .study import Mode

__all__ = ['PLAIN', 'RIDERS', 'Arm', 'arms_of', 'named_arm', 'with_parameters']

PLAIN = 'plain'
# They change nothing in what is learnt, so they are no rungs: they ride along with every other.
RIDERS = ('finite_guard', 'data_monitor')


@dataclasses.dataclass(frozen=True)
class Arm:
    """A rung before it is planned for a config.

    Attributes:
        name: See `Rung.name`.
        label: See `Rung.label`.
        tricks: The value of ``tricks``; None for the config as it is.
        reference: See `Rung.reference`.
        options: Settings of the config, or flags, that this arm alone has.
    """

    name: str
    label: str
    tricks: dict[str, Any] | None = None
    reference: str | None = PLAIN
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def without_riders(self) -> dict[str, Any] | None:
        """The value of ``tricks`` without those that change nothing in what is learnt."""
        if self.tricks is None:
            return None
        wanted = {trick.name for trick in select(self.tricks).tricks}
        return {**self.tricks, **{name: False for name in RIDERS if name in wanted}}


def with_parameters(tricks: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """A wish with parameters that were set beside it.

    Args:
        tricks: As for `select`.
        parameters: Trick names to parameters, True or False.

    Raises:
        TrickError: If one of them is wrong.
    """
    wish = as_mapping(tricks)
    for name, values in parameters.items():
        known = wish.get(name)
        if isinstance(known, dict) and isinstance(values, dict):
            values = {**known, **values}
        wish[name] = values
    select(wish)
    return wish


def arms_of(mode: Mode, wish: dict[str, Any], title: str) -> list[Arm]:
    """The arms of a wish, the config as it is first.

    Args:
        mode: How they follow from the tricks.
        wish: As `with_parameters` gives it.
        title: What the wish is called, for the label of all tricks together.

    Raises:
        TrickError: If there is no trick that could be a rung.
    """
    names = [trick.name for trick in select(wish).tricks if trick.name not in RIDERS]
    if not names:
        raise TrickError(f'--tricks {title} names no trick that changes a result, so there is '
                         'nothing to compare')

    def value(kept: list[str]) -> dict[str, Any]:
        return {**wish, **{name: False for name in names if name not in kept}}

    arms = [Arm(PLAIN, 'as it is', reference=None)]
    if mode == 'stack':
        for index, name in enumerate(names):
            arms.append(Arm(name, f'+ {name}', value(names[:index + 1]), arms[-1].name))
    elif mode == 'single':
        arms += [Arm(name, f'{name} alone', value([name])) for name in names]
    elif mode == 'leave-one-out':
        arms.append(Arm('all', title, value(names)))
        if len(names) > 1:
            arms += [Arm(f'without_{name}', f'without {name}',
                         value([other for other in names if other != name]), 'all')
                     for name in names]
    else:
        arms.append(Arm('bag', title, value(names)))
    return arms


def named_arm(text: str, parse_options: Any) -> Arm:
    """An arm as ``--arms`` has it: ``NAME=TRICKS`` and, after semicolons, settings of its own.

    Args:
        text: Such as ``mild=bag_of_freebies,-random_shapes;tricks.mixup.alpha=0.2``. A trick with
            a minus is left out of a recipe.
        parse_options: Turns ``KEY=VALUE`` words into a dict.

    Raises:
        TrickError: If it has no name, or one that is no folder's; if a trick is unknown.
    """
    first, *words = [word.strip() for word in text.split(';')]
    name, _, tricks = first.partition('=')
    if '=' not in first or not re.fullmatch(r'[A-Za-z0-9][\w.-]*', name) or name == PLAIN:
        raise TrickError(f'--arms must be NAME=TRICKS[;KEY=VALUE...] with a name of letters, '
                         f'digits, _, - and . that is not {PLAIN!r}, got {text!r}')
    options = parse_options([word for word in words if word])
    own = {key[len('tricks.'):]: options.pop(key) for key in list(options)
           if key.startswith('tricks.')}
    wanted = [word for word in split_names(tricks) if word]
    if not wanted and not options:
        raise TrickError(f'--arms {name} has neither tricks nor settings')
    kept: list[Any] = [word for word in wanted if not word.startswith('-')]
    dropped = {word[1:]: False for word in wanted if word.startswith('-')}
    wish = as_mapping([*kept, dropped] if dropped else kept or None, f'--arms {name}')
    return Arm(name, name, with_parameters(wish, nested(own)) if wish or own else None,
               options=options)


def nested(options: dict[str, Any]) -> dict[str, Any]:
    """Parameters by trick, from ``mixup.alpha`` to a value."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        name, _, rest = key.partition('.')
        if not rest:
            found[name] = value
        elif '.' in rest or not isinstance(found.setdefault(name, {}), dict):
            raise TrickError(f'tricks.{key} must be a parameter of a trick, got {value!r}')
        else:
            found[name][rest] = value
    return found
