"""Recipes: config fragments that name a set of tricks, and reading what `tricks` says."""

from __future__ import annotations

import dataclasses
import runpy
from typing import Any

from .errors import TrickError, nearest
from .paths import config_folder
from .registry import TRICKS
from .trick import Trick

__all__ = ['Selection', 'as_mapping', 'load_recipe', 'recipe', 'recipe_names', 'select',
           'split_names']


# In a recipe's `tricks`: its name, by which a config that inherits it is told from the user's own.
_MARK = 'from_recipe'


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in config_folder('recipes').glob('*.py')
                  if path.stem != '__init__')


def recipe(name: str) -> str:
    """The path of a recipe, for a config's ``_base_``.

    Args:
        name: Such as ``bag_of_freebies``.

    Raises:
        TrickError: If there is no such recipe; names the nearest.
    """
    names = recipe_names()
    if name not in names:
        raise TrickError(f'unknown recipe {name!r}{nearest(name, names)}')
    return str(config_folder('recipes') / f'{name}.py')


def load_recipe(name: str) -> dict[str, Any]:
    """The ``tricks`` of a recipe: trick names to parameters.

    Args:
        name: A recipe's name.

    Raises:
        TrickError: If there is no such recipe.
    """
    tricks = dict(runpy.run_path(recipe(name))['tricks'])
    tricks.pop(_MARK, None)
    return tricks


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a ``tricks`` value asks for.

    Attributes:
        tricks: The tricks, built, in the order of application.
        strict: Whether a trick without effect stops the run.
        named: The tricks that the user named himself; the others a recipe brought.
        recipes: The recipes that he named.
    """

    tricks: tuple[Trick, ...] = ()
    strict: bool = False
    named: frozenset[str] = frozenset()
    recipes: tuple[str, ...] = ()


def split_names(text: str) -> list[str]:
    """Names separated by commas, as one option of a command line holds them."""
    return [name.strip() for name in text.split(',')]


def select(tricks: Any, path: str = 'tricks') -> Selection:
    """The tricks that a ``tricks`` value asks for.

    Args:
        tricks: A recipe's or trick's name (several separated by commas), a dict of trick names
            to parameters, True or False (with ``recipe`` and ``strict`` beside them), or a list
            of such names and dicts. What is set beside a recipe wins over the recipe. None asks
            for none.
        path: Where the value stands, for error messages.

    Raises:
        TrickError: For unknown names, values of a wrong type, a trick given twice, a wrong
            parameter, and two tricks that exclude each other.
    """
    if tricks is None:
        return Selection()
    reader = _read(tricks, path)
    wanted = reader.wanted()
    for name in wanted:
        TRICKS.get(name, path)
    kinds = [trick for trick in TRICKS.in_order() if trick.name in wanted]
    for trick in kinds:
        clash = next((name for name in trick.excludes if name in wanted), None)
        if clash:
            raise TrickError(f'tricks.{trick.name} and tricks.{clash} exclude each other: leave '
                             f'one out, for example by tricks.{clash}=False')
    return Selection(tuple(trick.from_dict(wanted[trick.name]) for trick in kinds),
                     reader.strict, reader.named(), tuple(reader.recipes))


def as_mapping(tricks: Any, path: str = 'tricks') -> dict[str, Any]:
    """The same wish as one dict: recipes by ``recipe``, what the user set beside them.

    A trick is left out of the wish by setting its name to False in the result; the others stay
    what they are, a recipe's advice or the user's order.

    Args:
        tricks: As for `select`.
        path: Where the value stands, for error messages.

    Raises:
        TrickError: If the wish is wrong.
    """
    select(tricks, path)
    if tricks is None:
        return {}
    reader = _read(tricks, path)
    mapping: dict[str, Any] = {'recipe': list(reader.recipes)} if reader.recipes else {}
    if reader.strict:
        mapping['strict'] = True
    return {**mapping, **reader.inherited, **reader.own()}


def _read(tricks: Any, path: str) -> _Reader:
    reader = _Reader()
    for where, item in _entries(tricks, path):
        if isinstance(item, str):
            reader.name(item, where)
        else:
            reader.mapping(item, where)
    return reader


def _entries(tricks: Any, path: str) -> list[tuple[str, Any]]:
    """The names and dicts of a ``tricks`` value, each with its path."""
    if isinstance(tricks, str):
        tricks = split_names(tricks)
        if len(tricks) == 1:
            return [(path, tricks[0])]
    if isinstance(tricks, dict):
        return [(path, tricks)]
    if isinstance(tricks, (list, tuple)) and tricks:
        entries = [(f'{path}[{index}]', item) for index, item in enumerate(tricks)]
        for where, item in entries:
            if not isinstance(item, (str, dict)):
                raise TrickError(f'{where} must be a name or a dict, got {item!r}')
        return entries
    raise TrickError(
        f'{path} must be the name of a recipe or trick, a dict, or a list of these, got {tricks!r}'
    )


class _Reader:
    """Collects what recipes set and what the user set; the user's own settings win."""

    def __init__(self) -> None:
        self.strict = False
        self.recipes: list[str] = []
        self.inherited: dict[str, Any] = {}  # a recipe's mark, and what it brought
        self._recipes: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        self._seen: dict[tuple[str, str], str] = {}

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Parameters by name, for the tricks that are switched on."""
        return {
            name: {**self._recipes.get(name, {}), **(self._own.get(name) or {})}
            for name in {**self._recipes, **self._own}
            if self._own.get(name) is not False
        }

    def own(self) -> dict[str, Any]:
        """What the user set himself: parameters, True without any, or False."""
        return {name: values if values is False else dict(values) or True
                for name, values in self._own.items()}

    def named(self) -> frozenset[str]:
        """The tricks that the user named himself, with a parameter or without."""
        return frozenset(name for name, values in self._own.items() if values is not False)

    def name(self, name: str, where: str) -> None:
        """Takes a bare name: a trick with its defaults, or a recipe."""
        if name in TRICKS:
            self._once(name, where, 'name')
            self._own.setdefault(name, {})
            return
        known = recipe_names()
        if name not in known:
            known += [trick.name for trick in TRICKS.in_order()]
            raise TrickError(f'{where}: unknown trick or recipe {name!r}{nearest(name, known)}')
        self._recipe(name, where)

    def mapping(self, item: dict[str, Any], where: str) -> None:
        """Takes a dict of tricks, with ``recipe`` and ``strict`` beside them.

        A config that inherits a recipe has the recipe's tricks in its own dict, and the recipe's
        mark. What stands there as in the recipe, the recipe brought; what differs is the user's.
        """
        brought = self._inherited(item, where)
        for key, value in item.items():
            path = f'{where}.{key}'
            if key == _MARK or (key in brought and value == brought[key]):
                continue
            if key == 'recipe':
                self._recipes_of(value, path)
            elif key == 'strict':
                if not isinstance(value, bool):
                    raise TrickError(f'{path} must be True or False, got {value!r}')
                self.strict = value
            else:
                self._trick(key, value, path)

    def _inherited(self, item: dict[str, Any], where: str) -> dict[str, Any]:
        """The tricks of the recipe whose mark a dict bears, without those that it takes out."""
        if _MARK not in item:
            return {}
        name, path = item[_MARK], f'{where}.{_MARK}'
        if not isinstance(name, str) or name not in recipe_names():
            raise TrickError(f'{path} must be the name of a recipe, got {name!r}')
        brought = {key: value for key, value in load_recipe(name).items() if key in item}
        for key, value in brought.items():
            if item[key] is not False:
                self._merge(key, value)
                self.inherited[key] = value
        self.inherited[_MARK] = name
        return brought

    def _merge(self, trick: str, values: Any) -> None:
        known = self._recipes.get(trick, {})
        self._recipes[trick] = {**known, **(values if isinstance(values, dict) else {})}

    def _trick(self, name: Any, values: Any, path: str) -> None:
        if name not in TRICKS:
            known = [*(trick.name for trick in TRICKS.in_order()), 'recipe', 'strict']
            raise TrickError(f'{path}: unknown trick{nearest(name, known)}')
        if not isinstance(values, (dict, bool)):
            raise TrickError(f'{path} must be a dict of parameters, True or False, got {values!r}')
        self._once(name, path, 'parameters')
        self._own[name] = {} if values is True else values

    def _recipes_of(self, value: Any, path: str) -> None:
        names = split_names(value) if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise TrickError(f'{path} must be the name of a recipe, got {value!r}')
        for name in names:
            self._recipe(name, path)

    def _recipe(self, name: str, path: str) -> None:
        if name not in recipe_names():
            raise TrickError(f'{path}: unknown recipe {name!r}{nearest(name, recipe_names())}')
        self._once(name, path, 'recipe')
        self.recipes.append(name)
        for trick, values in load_recipe(name).items():
            self._merge(trick, values)

    def _once(self, name: str, path: str, role: str) -> None:
        """Refuses a second mention in the same role; a bare name may have parameters beside it."""
        if (name, role) in self._seen:
            raise TrickError(
                f'{path}: {name!r} is given twice, first at {self._seen[name, role]}')
        self._seen[name, role] = path
