"""What a flag of timm's training script is: one row, and what its columns hold."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ['COOLING', 'Flag', 'Read', 'Rule', 'by_sched', 'flag', 'is_mixing', 'needs']

_CYCLES = ('cosine', 'tanh', 'poly')
COOLING = (*_CYCLES, 'wsd', 'rsqrt')


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        words: To follow "must be".
        holds: Whether a value is so.
        finite: Whether infinity is refused.
    """

    words: str
    holds: Callable[[Any], bool]
    finite: bool = True


@dataclasses.dataclass(frozen=True)
class Read:
    """When timm's script reads a setting.

    Attributes:
        when: Whether it does beside the other settings.
        why: What to say where it does not, to follow "has no effect:".
    """

    when: Callable[[argparse.Namespace], Any]
    why: str


@dataclasses.dataclass(frozen=True)
class Flag:
    """One setting of the training script: a row of the table.

    Attributes:
        names: The option strings, or one bare name for a positional argument.
        kind: ``int``, ``float``, ``str``, ``switch`` (False until it is given) or ``kwargs``
            (``KEY=VALUE`` pairs to a dict).
        default: Its value where neither the command line nor the YAML sets it.
        help: One line.
        nargs: As in argparse.
        const: The value of an option that is given without one (``nargs='?'``).
        exclusive: Flags with the same word here exclude each other on the command line.
        metavar: What ``--help`` shows for its value; empty: by kind.
        words: The values allowed; empty for any. The empty word is not listed in messages.
        rule: What each value must be.
        whole: What a list must be as a whole.
        none: Whether a YAML may say null although the default is a value.
        loose: Whether a YAML may give one value or a list alike.
        read: When it has an effect: all of these must hold.
        since: The first timm release whose script knows it, by the releases' tags (1.0.29 has
            none: by the library's create_loader); empty: 1.0.3, the first 1.0, or before.
        role: ``training`` for what a resumed run takes from its checkpoint; ``place`` for what
            says where things lie, or what is shown, and decides no result; empty for data,
            devices and what is validated.
        builds: What timm makes of it before a training: ``model``, ``optimizer``, ``schedule`` or
            ``transform``. Where that fails, the flag without which it would not is named.
        without: What to do, or what comes of it, where a script lacks the setting.
    """

    names: tuple[str, ...]
    kind: str
    default: Any
    help: str
    nargs: str | int | None = None
    const: str | None = None
    exclusive: str = ''
    metavar: str = ''
    words: tuple[str, ...] = ()
    rule: Rule | None = None
    whole: Rule | None = None
    none: bool = False
    loose: bool = False
    read: tuple[Read, ...] = ()
    since: str = ''
    role: str = ''
    builds: str = ''
    without: str = ''

    @property
    def long(self) -> str:
        """The first name with two dashes, or the bare name of a positional argument."""
        return next((name for name in self.names if name.startswith('--')), self.names[0])

    @property
    def dest(self) -> str:
        """The setting's name in the namespace and in a YAML file."""
        return self.long.lstrip('-').replace('-', '_')

    @property
    def many(self) -> bool:
        """Whether its value is a list."""
        return self.kind != 'kwargs' and self.nargs not in (None, '?')


def flag(
    names: str, kind: str, default: Any, help: str, *columns: Rule | Read, **more: Any,
) -> Flag:
    """A row of the table.

    Args:
        names: Separated by blanks.
        kind: As in `Flag`, like ``default`` and ``help``.
        default: The default.
        help: One line.
        *columns: The ``rule``, and what ``read`` holds, in any order.
        **more: The other columns.
    """
    rule = next((one for one in columns if isinstance(one, Rule)), None)
    reads = tuple(one for one in columns if isinstance(one, Read))
    return Flag(tuple(names.split()), kind, default, help, rule=rule, read=reads, **more)


def needs(name: str) -> Read:
    """Read only where another setting is on."""
    return Read(lambda args: getattr(args, name), f'it needs --{name.replace("_", "-")}')


def by_sched(*names: str) -> Read:
    """Read by some schedules only."""
    listed = f'{", ".join(names[:-1])} and {names[-1]} read' if names[1:] else f'{names[0]} reads'
    return Read(lambda args: args.sched in names, f'only --sched {listed} it')


def is_mixing(args: argparse.Namespace) -> bool:
    """Whether timm's mixup or cutmix is on."""
    return args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None


ABOVE_0 = Rule('above 0', lambda value: value > 0)
FROM_0 = Rule('0 or more', lambda value: value >= 0)
FROM_1 = Rule('1 or more', lambda value: value >= 1)
SIDE = Rule('from 1 to 65535', lambda value: 1 <= value <= 65535)  # the largest JPEG
SHARE = Rule('from 0 to 1', lambda value: 0 <= value <= 1)
PAIR = Rule('two numbers, the smaller first',
            lambda values: len(values) == 2 and values[0] <= values[1])
SOME = Rule('one value or more', lambda values: len(values) > 0)
RISING = Rule('one number or more, each above the one before', lambda values: bool(values) and all(
    first < second for first, second in zip(values, values[1:], strict=False)))

MIXING = Read(is_mixing, 'it needs --mixup or --cutmix')
AUGMENTING = Read(lambda args: not args.no_aug, '--no-aug turns it off')
CYCLES = by_sched(*_CYCLES)
SCHEDULED = Read(lambda args: args.sched != 'none', '--sched none leaves the LR alone')
NO_LR = Read(lambda args: not args.lr, '--lr sets the LR itself')
STREAMED = Read(lambda args: args.dataset.lower().startswith(('wds/', 'tfds/', 'hfids/')),
                'only data that is streamed reads it')
VALIDATED = Read(lambda args: args.val_split, 'there is no --val-split')
FILTERS = ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')
