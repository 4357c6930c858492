"""From a wish for tricks to the rungs of an ablation."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import as_mapping, select, split_names
from .study import Mode, Subject

__all__ = ['PLAIN', 'RIDERS', 'Arm', 'Parse', 'arms_of', 'given_arms', 'named_arm', 'nested',
           'riders_note', 'with_parameters']

PLAIN = 'plain'
# They change nothing in what is learnt, so they are no rungs: they ride along with every other.
RIDERS = ('finite_guard', 'data_monitor')
Parse = Callable[[list[str]], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Arm:
    """A rung before it is planned for a config.

    Attributes:
        name: See `Rung.name`.
        label: See `Rung.label`.
        tricks: The value of ``tricks``; None for the config as it is.
        reference: See `Rung.reference`.
        options: Settings of the config that this arm alone has.
        words: Flags of the trainer that this arm alone has.
    """

    name: str
    label: str
    tricks: dict[str, Any] | None = None
    reference: str | None = PLAIN
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    words: tuple[str, ...] = ()

    def deciding(self) -> dict[str, Any] | None:
        """The value of ``tricks`` without those that change nothing in what is learnt.

        These are the riders, and what does nothing in one process, as a run is.
        """
        if self.tricks is None:
            return None
        idle = [trick.name for trick in select(self.tricks).tricks
                if trick.name in RIDERS or trick.alone]
        return {**self.tricks, **dict.fromkeys(idle, False)}


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


def named_arm(text: str, parse: Parse, flags: bool = False, first: bool = False) -> Arm:
    """An arm as ``--arms`` has it: ``NAME=TRICKS`` and, after semicolons, settings of its own.

    Args:
        text: Such as ``mild=bag_of_freebies,-random_shapes;tricks.mixup.alpha=0.2``. A trick with
            a minus is left out of a recipe; ``label=...`` is what tables call the arm.
        parse: Turns ``KEY=VALUE`` words into a dict.
        flags: Whether the other settings are flags of a trainer and not a config's.
        first: Whether it stands first, where it may be called ``plain``: it is then the first
            rung itself, in place of the training as it is.

    Raises:
        TrickError: If it has no name, or one that is no folder's; if a trick is unknown.
    """
    head, *parts = [part.strip() for part in text.split(';')]
    name, _, tricks = head.partition('=')
    if '=' not in head or not re.fullmatch(r'[A-Za-z0-9][\w.-]*', name) or \
            (name == PLAIN and not first):
        raise TrickError('--arms must be NAME=TRICKS[;KEY=VALUE...] with a name of letters, '
                         f'digits, _, - and . that is not {PLAIN!r}, which the first arm alone '
                         f'may have, got {text!r}')
    labels = [part[len('label='):] for part in parts if part.startswith('label=')]
    own = parse([part for part in parts if part.startswith('tricks.')])
    rest = [part for part in parts if part and not part.startswith(('label=', 'tricks.'))]
    wanted = [word for word in split_names(tricks) if word]
    if not wanted and not rest and name != PLAIN:
        raise TrickError(f'--arms {name} has neither tricks nor settings')
    kept: list[Any] = [word for word in wanted if not word.startswith('-')]
    dropped = {word[1:]: False for word in wanted if word.startswith('-')}
    wish = as_mapping([*kept, dropped] if dropped else kept or None, f'--arms {name}')
    parameters = nested({key[len('tricks.'):]: value for key, value in own.items()})
    bare = name == PLAIN and not wanted and not rest
    label = labels[-1] if labels else 'as it is' if bare else name
    return Arm(name, label, with_parameters(wish, parameters) if wish or own else None,
               None if name == PLAIN else PLAIN,
               {} if flags else parse(rest), tuple(_words(rest)) if flags else ())


def _words(parts: list[str]) -> list[str]:
    """The words of flags.

    Raises:
        TrickError: If a quotation is open.
    """
    try:
        return [word for part in parts for word in shlex.split(part)]
    except ValueError as error:
        raise TrickError(f'--arms: {error} in {"; ".join(parts)!r}') from error


def given_arms(texts: list[str], parse: Parse, own: dict[str, Any], where: str,
               mode: str | None, flags: bool = False) -> tuple[Mode, list[Arm]]:
    """The mode and the arms of ``--arms``, the first rung included.

    Args:
        texts: The words of the flag.
        parse: See `named_arm`.
        own: Parameters by trick for every arm that has it.
        where: The flag that they come from, for the message.
        mode: ``stack`` compares each with the one before; None each with the first.
        flags: See `named_arm`.

    Raises:
        TrickError: If an arm is wrong, or two have one name.
    """
    arms = [named_arm(text, parse, flags, index == 0) for index, text in enumerate(texts)]
    names = [arm.name for arm in arms]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrickError(f'--arms: {twice[0]!r} is given twice')
    if own:
        unused = [name for name in own if not any(name in _tricks(arm) for arm in arms)]
        if unused:
            raise TrickError(f'{where}{unused[0]}: no arm has this trick')
        arms = [_with_own(arm, own) for arm in arms]
    if names[0] != PLAIN:
        arms.insert(0, Arm(PLAIN, 'as it is', reference=None))
    if mode != 'stack':
        return 'arms', arms
    return 'stack', [arms[0], *(dataclasses.replace(arm, reference=before.name)
                                for before, arm in itertools.pairwise(arms))]


def _tricks(arm: Arm) -> set[str]:
    return {trick.name for trick in select(arm.tricks).tricks}


def _with_own(arm: Arm, own: dict[str, Any]) -> Arm:
    """An arm with parameters for the tricks that it has."""
    here = {name: value for name, value in own.items() if name in _tricks(arm)}
    return dataclasses.replace(arm, tricks=with_parameters(arm.tricks, here)) if here else arm


def riders_note(subjects: Iterable[Subject]) -> tuple[str, ...]:
    """A note on the tricks that are no rungs, where there are some."""
    found = [name for name in RIDERS if any(
        row['name'] == name for one in subjects for rung in one.rungs for row in rung.plan)]
    if not found:
        return ()
    return (f'{" and ".join(found)} change{"s" if len(found) == 1 else ""} nothing in what is '
            'learnt: no rung of their own, in every rung but the first.',)


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
