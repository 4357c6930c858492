"""Putting something around one object's method, or around a torch function for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ['During', 'Wrapped']


class Wrapped:
    """One object's method with something around it, as an attribute of that object.

    No class is changed: other objects keep the method as it is. Copying or pickling the object
    copies it along, bound to the copy.

    Args:
        owner: A module, sampler, assigner or any other object with attributes.
        name: The method.
        around: Called as ``around(call, *args, **kwargs)`` in the method's place; ``call`` is the
            method that was there. To be copied along it is a bound method or a
            `functools.partial` of one.
    """

    def __init__(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        self.call = getattr(owner, name)
        self.around = around
        self._owner = owner
        self._name = name
        self._before = owner.__dict__.get(name)
        owner.__dict__[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls what is around, with the method first."""
        return self.around(self.call, *args, **kwargs)

    def remove(self) -> None:
        """Gives the object its method back; of several around one method, the last one first."""
        if self._before is None:
            del self._owner.__dict__[self._name]
        else:
            self._owner.__dict__[self._name] = self._before

    def __getstate__(self) -> dict[str, Any]:
        """Without a method of the owner's class: pickle would look it up on the owner, as self."""
        return {name: value for name, value in self.__dict__.items()
                if name != 'call' or self._before is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if 'call' not in state:
            kind = type(self._owner)
            method = next(vars(base)[self._name] for base in kind.__mro__
                          if self._name in vars(base))
            self.call = method.__get__(self._owner, kind)


class During(TorchFunctionMode):
    """While it is entered, ``after(args, kwargs, result)`` gives a torch function's result.

    For the places where a module keeps to itself what must be known, or calls a torch function
    where it could call a module. It sees the calls of this thread alone.

    Args:
        function: The torch function.
        after: Gets the arguments and what the function gave, and returns what the caller gets.
    """

    def __init__(self, function: Callable[..., Any], after: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        self._after = after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the function, and ``after`` with what it gave."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        return self._after(args, kwargs, result) if func is self._function else result
