"""A trick's parameters: frozen dataclasses whose values are checked against bounds."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Union

from .errors import TrickError, nearest

__all__ = ['Params', 'bounded']

_RULES = {
    'gt': (lambda value, bound: value > bound, '>'),
    'ge': (lambda value, bound: value >= bound, '>='),
    'lt': (lambda value, bound: value < bound, '<'),
    'le': (lambda value, bound: value <= bound, '<='),
    'choices': (lambda value, bound: value in bound, 'one of'),
}


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
