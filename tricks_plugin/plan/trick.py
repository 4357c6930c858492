"""The contract every trick fulfils: what it is, its parameters, and its side in each trainer.

Needs neither mmengine nor torch, so that timm users reach the same tricks.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from .params import Params
from .run_facts import RunFacts
from .verdict import Verdict

__all__ = ['ConfigEdit', 'TimmFlags', 'Trick']


class ConfigEdit(ABC):
    """A trick's side in mmengine: the edit of a config. A room's ``mm.py`` holds it as ``Edit``.

    Args:
        params: The trick's parameters.
    """

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """See `Trick.apply`."""

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """As `Trick.pays`, for a trick that has to look into the config itself."""
        return None


class TimmFlags(ABC):
    """A trick's side in timm: its settings. A room's ``timm.py`` holds it as ``Flags``.

    Attributes:
        main: The setting without which the trick is nothing; what the user gave for it decides
            over the trick. Empty if there is none.
        derives: Settings that the trick derives from the user's own, and so may change although
            the user gave them.
        unused: Parameters of the trick that mean nothing here; the plan says so where one is set.
        advice: Parameters by which a recipe advises other trainers; nothing is said of them.
        impossible: Parameters that `settings` refuses. A recipe's trick goes without them, and the
            plan says so.

    Args:
        params: The trick's parameters.
    """

    main: ClassVar[str] = ''
    derives: ClassVar[tuple[str, ...]] = ()
    unused: ClassVar[tuple[str, ...]] = ()
    advice: ClassVar[tuple[str, ...]] = ()
    impossible: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """See `Trick.timm_args`."""

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """See `Trick.timm_note`."""
        return ''

    def pays(self, args: dict[str, Any], facts: RunFacts) -> str | None:
        """As `Trick.pays`, for a trick that has to look into the settings themselves."""
        return None

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """See `Trick.timm_promise`."""
        return {}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """See `Trick.timm_active`."""
        return False


class Trick:
    """One training trick: parameters, a side in each trainer, and a measurement that it is live.

    A room's trick is found by its folder: ``mm.py`` holds its `ConfigEdit` as ``Edit``, ``timm.py``
    its `TimmFlags` as ``Flags``. A trick that is one module overrides `apply` and, for timm,
    `timm_args`. See docs/adding_a_trick.md.

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
        functions: Names in `tricks_plugin.functional`, for the table of tricks.
        distributed: What changes with the number of processes, in a few words; empty: nothing.
        alone: Why the trick changes nothing in a training of one process; empty where it does.
        timm_main: See `TimmFlags`; for a trick of one module.
        timm_derives: See `TimmFlags`; for a trick of one module.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    order: ClassVar[int]
    Params: ClassVar[type[Params]] = Params
    evidence: ClassVar[str]
    excludes: ClassVar[tuple[str, ...]] = ()
    functions: ClassVar[tuple[str, ...]] = ()
    distributed: ClassVar[str] = ''
    alone: ClassVar[str] = ''
    timm_main: ClassVar[str] = ''
    timm_derives: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Any) -> None:
        self.params = params

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: str | None = None) -> Trick:
        """Builds the trick from its parameters; raises TrickError for wrong ones."""
        return cls(cls.Params.from_dict(values, path or f'tricks.{cls.name}'))

    @classmethod
    def side(cls, module: str, name: str) -> Any:
        """The class of that name in a module of the trick's room; None if there is none."""
        path = f'{cls.__module__}.{module}'
        room = importlib.import_module(cls.__module__)
        if not hasattr(room, '__path__') or importlib.util.find_spec(path) is None:
            return None
        return getattr(importlib.import_module(path), name)

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
        edit = self.side('mm', 'Edit')
        if edit is None:
            return Verdict.not_applicable(f'{self.name} has no side for mmengine')
        return edit(self.params).apply(cfg)

    def pays(self, facts: RunFacts) -> str | None:
        """Why the trick would cost more than it brings in such a run.

        A recipe's trick with a reason is held back; one that the user named is applied. A rule
        rests on measurements, which the room's README cites under *When it pays*; what is not known
        of the run holds nothing back.

        Args:
            facts: Of the run, before any trick.

        Returns:
            The reason with its numbers, as the beginning of a sentence; None where the trick pays
            or nothing speaks against it.
        """
        return None

    def config_pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """`pays`, with what the trick's `ConfigEdit` finds in a config (not changed)."""
        edit = self.side('mm', 'Edit')
        own = None if edit is None else edit(self.params).pays(cfg, facts)
        return self.pays(facts) or own

    def timm_pays(self, args: dict[str, Any], facts: RunFacts) -> str | None:
        """`pays`, with what the trick's `TimmFlags` find in timm's settings."""
        flags = self._flags()
        own = None if flags is None else flags(self.params).pays(args, facts)
        return self.pays(facts) or own

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """The trick as settings of timm's training script.

        The caller keeps what the user gave (but for ``derives``) and compares the rest.

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
        flags = self._flags()
        return None if flags is None else flags(self.params).settings(args, given)

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """A clause for the plan beside what is set or present; may be empty.

        Args:
            before: The settings that `timm_args` received.
            after: The same with the trick's.
        """
        flags = self._flags()
        return '' if flags is None else flags(self.params).note(before, after)

    @classmethod
    def timm_promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """The settings of the trick's measurement in a timm training.

        Args:
            args: The final settings of the run by flag name.

        Returns:
            Keywords of the trick's `Evidence`; None where these settings leave nothing to measure.
        """
        flags = cls._flags()
        return {} if flags is None else flags.promise(args)

    @classmethod
    def timm_active(cls, args: dict[str, Any]) -> bool:
        """Whether timm's settings ask for the trick's effect, with or without a plan."""
        flags = cls._flags()
        return False if flags is None else flags.active(args)

    @classmethod
    def timm_rules(cls) -> tuple[str, tuple[str, ...]]:
        """``(main, derives)``, see `TimmFlags`."""
        flags = cls._flags()
        return (cls.timm_main, cls.timm_derives) if flags is None else (flags.main, flags.derives)

    def timm_unused(self) -> list[str]:
        """Parameters that are set and mean nothing under timm, with the trick's name in front."""
        flags = self._flags()
        defaults = {field.name: field.default for field in dataclasses.fields(self.Params)}
        return [f'{self.name}.{name}' for name in (() if flags is None else flags.unused)
                if getattr(self.params, name) != defaults[name]]

    def timm_advised(self) -> tuple[Trick, list[str]]:
        """The trick as a recipe's advice under timm: without the parameters that timm cannot keep.

        Returns:
            ``(trick, left out)``, the parameters with the trick's name in front and their values.
        """
        flags = self._flags()
        defaults = {field.name: field.default for field in dataclasses.fields(self.Params)}
        out = {name: defaults[name] for name in (() if flags is None else flags.impossible)
               if getattr(self.params, name) != defaults[name]}
        if not out:
            return self, []
        return type(self)(dataclasses.replace(self.params, **out)), [
            f'{self.name}.{name}={getattr(self.params, name)!r}' for name in out]

    @classmethod
    def _flags(cls) -> Any:
        return cls.side('timm', 'Flags')
