"""What a ``type`` in a config stands for: its name, and the class where it can be found."""

from __future__ import annotations

import functools
import inspect
from typing import Any

__all__ = ['argument_default', 'import_path', 'is_a', 'lookup_class', 'not_seen', 'type_name']

_REGISTRIES = ('MODELS', 'TRANSFORMS', 'DATASETS', 'HOOKS', 'PARAM_SCHEDULERS', 'OPTIMIZERS',
               'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'LOOPS', 'DATA_SAMPLERS', 'RUNNERS',
               'FUNCTIONS')


def import_path(value: Any) -> str | None:
    """The dotted path of a class or function, if importing that path gives it back; else None.

    Args:
        value: A class or function.
    """
    path = f'{value.__module__}.{value.__qualname__}'
    return path if _import_object(path) is value else None


def _import_object(path: str) -> Any:
    """The object of a dotted path, or None."""
    try:
        from mmengine.utils import get_object_from_string
    except ImportError:
        return None
    try:
        return get_object_from_string(path)
    except Exception:  # an import of unknown code may raise anything
        return None


def type_name(node: Any) -> str:
    """The class name in a node's ``type`` (or in a type string), without scope or module."""
    kind = node.get('type', '') if isinstance(node, dict) else node
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


def is_a(node: Any, *names: str, scope: str = 'mmdet') -> bool:
    """Whether a node's class is, or derives from, one of the named classes.

    Args:
        node: A dict with a ``type``, or a type string: plain, scoped, or a full import path.
        *names: Class names without scope.
        scope: The registry scope of an unscoped type.

    Returns:
        True also for a user's subclass, if it is registered; a class that cannot be found is
        judged by its own name alone.
    """
    name = type_name(node)
    if name in names:
        return True
    kind = node.get('type') if isinstance(node, dict) else node
    found = lookup_class(kind, scope) if isinstance(kind, str) else kind
    return any(base.__name__ in names for base in inspect.getmro(found)) \
        if inspect.isclass(found) else False


def not_seen(node: Any, scope: str = 'mmdet') -> str:
    """A clause for a verdict on a class that could not be looked into; empty if it could.

    Args:
        node: A dict with a ``type``, or a type.
        scope: The registry scope of an unscoped type.
    """
    kind = node.get('type') if isinstance(node, dict) else node
    if not isinstance(kind, str) or lookup_class(kind, scope) is not None:
        return ''
    return f' ({type_name(kind)} is not registered or importable here, and was not looked into)'


def argument_default(node: dict[str, Any], name: str, scope: str = 'mmdet') -> Any:
    """The default of an argument of a class, through base classes where it takes ``**kwargs``.

    Args:
        node: A dict with a ``type``.
        name: The argument's name.
        scope: The registry scope of an unscoped type.

    Returns:
        None also where the class is not found, or has no such argument or no default for it. The
        very object of the class: copy what is to be changed.
    """
    kind = node.get('type')
    found = lookup_class(kind, scope) if isinstance(kind, str) else kind
    if not inspect.isclass(found):
        return None
    cls: Any = found
    return _default(cls, name)


@functools.lru_cache(maxsize=4096)
def _default(cls: Any, name: str) -> Any:
    for base in inspect.getmro(cls):
        if '__init__' not in vars(base):
            continue
        try:
            parameters = inspect.signature(vars(base)['__init__']).parameters
        except (TypeError, ValueError):
            return None
        if name in parameters:
            default = parameters[name].default
            return None if default is inspect.Parameter.empty else default
        if all(item.kind is not item.VAR_KEYWORD for item in parameters.values()):
            return None
    return None


_found: dict[tuple[str, str], Any] = {}


def lookup_class(kind: str, scope: str = 'mmdet') -> Any:
    """The class or function that a type string stands for, or None.

    Args:
        kind: ``Name``, ``scope.Name`` or a full import path.
        scope: Where to look an unscoped name up.
    """
    key = (kind, scope)
    if key not in _found:
        found = _search(kind, scope)
        if found is None:
            return None  # not remembered: it may be registered later
        _found[key] = found
    return _found[key]


def _search(kind: str, scope: str) -> Any:
    if kind.count('.') > 1:
        return _import_object(kind)
    name = kind.rsplit('.', 1)[-1]
    scopes = [kind.rsplit('.', 1)[0]] if '.' in kind else [scope, 'mmengine']
    for registry in _scoped_registries(tuple(scopes)):
        found = registry._module_dict.get(name)
        if found is not None:
            return found
    return _import_object(kind) if '.' in kind else None


@functools.lru_cache(maxsize=32)
def _scoped_registries(scopes: tuple[str, ...]) -> list[Any]:
    """Every registry of the given scopes, its modules imported."""
    try:
        from mmengine import registry as roots
    except ImportError:
        return []
    import importlib
    registries = []
    for scope in scopes:
        if scope != 'mmengine':
            try:
                importlib.import_module(f'{scope}.registry')
            except ImportError:
                continue
        for name in _REGISTRIES:
            root = getattr(roots, name, None)
            child = root if root is None or scope == 'mmengine' else root.children.get(scope)
            if child is None:
                continue
            child.import_from_location()
            registries.append(child)
    return registries
