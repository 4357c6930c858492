"""The contract every trick fulfils, and the registry that holds them.

Needs neither mmengine nor mmdet, so that timm users reach the same tricks.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar, Union

from ..errors import TrickError, nearest

__all__ = ['TRICKS', 'Params', 'Trick', 'TrickRegistry', 'Verdict', 'bounded']

ENTRY_POINT_GROUP = 'tricks_plugin.tricks'
_RULES = {
    'gt': (lambda value, bound: value > bound, '>'),
    'ge': (lambda value, bound: value >= bound, '>='),
    'lt': (lambda value, bound: value < bound, '<'),
    'le': (lambda value, bound: value <= bound, '<='),
    'choices': (lambda value, bound: value in bound, 'one of'),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a trick found in a config.

    Attributes:
        status: ``applied``, ``present`` (the config does it already, and is left alone) or
            ``not_applicable``.
        reason: One sentence. Required unless the status is ``applied``.
        evidence: For ``applied``: the settings of the trick's measurement in the run, plain
            values that a config file can hold (``Trick.Evidence`` receives them as keywords).
    """

    status: str
    reason: str = ''
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def applied(cls, reason: str = '', **evidence: Any) -> Verdict:
        """The trick edited the config."""
        return cls('applied', reason, evidence)

    @classmethod
    def present(cls, reason: str) -> Verdict:
        """The config already does what the trick would do."""
        return cls('present', reason)

    @classmethod
    def not_applicable(cls, reason: str) -> Verdict:
        """The trick means nothing for this config."""
        return cls('not_applicable', reason)


def bounded(default: Any, help: str, **rules: Any) -> Any:
    """A dataclass field whose value is checked against rules.

    Args:
        default: The default value; None makes the parameter optional.
        help: One line for the trick's README and for error messages.
        **rules: Any of ``gt``, ``ge``, ``lt``, ``le`` (numbers) and ``choices`` (a tuple).

    Raises:
        TypeError: If a rule's name is unknown.
    """
    unknown = set(rules) - set(_RULES)
    if unknown:
        raise TypeError(f'unknown rules: {sorted(unknown)}')
    return dataclasses.field(default=default, metadata={'help': help, 'rules': rules})


def _accepts(annotation: Any, value: Any) -> bool:
    """Whether a value is of an annotated type; an int will do for a float, a bool for neither."""
    if annotation is Any:
        return True
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_accepts(arm, value) for arm in typing.get_args(annotation))
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (tuple, list):
        arms = [arm for arm in typing.get_args(annotation) if arm is not Ellipsis]
        return isinstance(value, (tuple, list)) and all(
            any(_accepts(arm, item) for arm in arms) for item in value
        )
    return isinstance(value, origin or annotation)


@dataclasses.dataclass(frozen=True)
class Params:
    """Base of a trick's parameters: a frozen dataclass of `bounded` fields."""

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: str) -> Any:
        """Checks and builds the parameters.

        Args:
            values: Parameter names and values.
            path: Where they stand in the config, such as ``tricks.mixup``.

        Raises:
            TrickError: If a name is unknown, or a value of the wrong type or out of bounds.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        for name, value in values.items():
            if name not in fields:
                raise TrickError(f'{path}.{name}: unknown parameter{nearest(name, fields)}')
            if not _accepts(hints[name], value):
                wanted = str(hints[name]).replace("<class '", '').replace("'>", '')
                raise TrickError(f'{path}.{name} must be of type {wanted}, got {value!r}')
            cls._check_rules(fields[name], value, f'{path}.{name}')
        params = cls(**values)
        params.check(path)
        return params

    @staticmethod
    def _check_rules(field: dataclasses.Field[Any], value: Any, path: str) -> None:
        if value is None:
            return
        if isinstance(value, float) and not math.isfinite(value):
            raise TrickError(f'{path} must be finite, got {value!r}')
        for rule, bound in field.metadata.get('rules', {}).items():
            holds, words = _RULES[rule]
            if not holds(value, bound):
                raise TrickError(f'{path} must be {words} {bound}, got {value!r}')

    def check(self, path: str) -> None:
        """Checks rules that span several parameters; raises TrickError. Nothing by default."""


class Trick(ABC):
    """One training trick: parameters, a config edit, and a measurement that it is live.

    Subclasses set the class attributes and implement `apply`. See docs/adding_a_trick.md.

    Attributes:
        name: The key in ``tricks``.
        title: What it does, in one line.
        paper: Source with section.
        order: Tricks are applied by ascending order, whatever order the user wrote them in.
        Params: The dataclass of parameters.
        evidence: Import path ``module:Class`` of the `tricks_plugin.evidence.Evidence` subclass
            that measures the trick in the running training. A path, since evidence needs torch
            and the edit does not.
        excludes: Names of tricks that cannot be wanted together with this one.
        timm_main: The timm setting without which the trick is nothing; what the user gave for it
            decides over the trick. Empty if there is none.
        timm_derives: timm settings that the trick derives from the user's own, and so may change
            although the user gave them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    order: ClassVar[int]
    Params: ClassVar[type[Params]] = Params
    evidence: ClassVar[str]
    excludes: ClassVar[tuple[str, ...]] = ()
    timm_main: ClassVar[str] = ''
    timm_derives: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Any) -> None:
        self.params = params

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: str | None = None) -> Trick:
        """Builds the trick from its parameters; raises TrickError for wrong ones."""
        return cls(cls.Params.from_dict(values, path or f'tricks.{cls.name}'))

    @abstractmethod
    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits a private copy of a config in place, and says what came of it.

        The caller compares the config before and after, and drops the edits unless the verdict
        is ``applied``. A config that lacks a section, or holds it in an unknown form, gets a
        ``not_applicable`` verdict, never an exception.

        Args:
            cfg: The whole config as plain dicts, lists and values; every ``type`` is a string.
                No two places share an object.

        Raises:
            TrickError: If a parameter cannot be used with this config although the trick can.
        """

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """The trick as settings of timm's training script.

        The caller keeps what the user gave (but for ``timm_derives``) and compares the rest.

        Args:
            args: The script's settings by flag name (underscores), as they stand so far. Where
                timm leaves None for the model to decide, ``num_classes``, ``input_size``,
                ``img_size`` and ``device`` hold what it will take.
            given: The names of those that the user set himself.

        Returns:
            The settings that the trick needs; empty where timm does so by itself; the reason in
            one sentence, or None, where timm's script cannot do the trick.

        Raises:
            TrickError: If a parameter cannot be used although the trick can.
        """
        return None

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """A clause for the plan beside what is set or present; may be empty.

        Args:
            before: The settings that `timm_args` received.
            after: The same with the trick's.
        """
        return ''


class TrickRegistry:
    """Tricks by name. Not an mmengine Registry, since timm users have no mmengine."""

    def __init__(self) -> None:
        self._tricks: dict[str, type[Trick]] = {}
        self._loaded_entry_points = False

    def register(self, trick: type[Trick]) -> type[Trick]:
        """Class decorator that adds a trick.

        Raises:
            TypeError: If a class attribute of the contract is missing.
            KeyError: If another class holds the name.
        """
        missing = [key for key in ('name', 'title', 'paper', 'order', 'evidence')
                   if not hasattr(trick, key)]
        if missing:
            raise TypeError(f'{trick.__name__} lacks {", ".join(missing)}')
        holder = self._tricks.setdefault(trick.name, trick)
        if holder is not trick:
            raise KeyError(f'trick {trick.name!r} is registered already, by {holder.__module__}')
        return trick

    def unregister(self, name: str) -> None:
        """Removes a trick, for tests that register a toy."""
        del self._tricks[name]

    def load_entry_points(self) -> None:
        """Imports the tricks of other installed packages (group ``tricks_plugin.tricks``), once.

        Each entry point names a module, or a Trick class, whose import registers the trick.
        """
        if self._loaded_entry_points:
            return
        self._loaded_entry_points = True
        for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            point.load()

    def get(self, name: str, path: str = 'tricks') -> type[Trick]:
        """The trick of a name.

        Raises:
            TrickError: If there is none; names the nearest.
        """
        self.load_entry_points()
        if name not in self._tricks:
            raise TrickError(f'{path}: unknown trick {name!r}{nearest(name, self._tricks)}')
        return self._tricks[name]

    def in_order(self) -> list[type[Trick]]:
        """Every trick, in the order in which they are applied."""
        self.load_entry_points()
        return sorted(self._tricks.values(), key=lambda trick: (trick.order, trick.name))

    def __contains__(self, name: object) -> bool:
        self.load_entry_points()
        return name in self._tricks


TRICKS = TrickRegistry()
