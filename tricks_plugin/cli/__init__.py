"""The `tricks` command: one row per subcommand, each imported when it is called."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Sequence

from ..common.door import run_door
from ..plan.errors import TrickError, nearest
from ..version import __version__
from .common import add_config_arguments, load_config

__all__ = ['COMMANDS', 'Command', 'add_config_arguments', 'load_config', 'main', 'run_door']


@dataclasses.dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        name: The word after ``tricks``.
        help: One line.
        where: ``module:function``; called with the words that follow and the name to show.
        prints: Whether it does nothing but print.
    """

    name: str
    help: str
    where: str
    prints: bool = False

    def run(self, words: Sequence[str]) -> int:
        """Runs the command and returns its exit status."""
        module, _, function = self.where.partition(':')
        run = getattr(importlib.import_module(module), function)
        return run_door(lambda: run(list(words), f'tricks {self.name}'), self.prints)


COMMANDS = (
    Command('plan', 'show what tricks would change in a config, without training',
            'tricks_plugin.cli.plan:main', prints=True),
    Command('train', "train an mmdet config: every flag of mmdet's train.py, and --tricks",
            'tricks_plugin.cli.train:main'),
    Command('test', "test a checkpoint: every flag of mmdet's test.py, and --tricks",
            'tricks_plugin.cli.test:main'),
    Command('timm', "train a classifier with timm's flags, and --tricks",
            'tricks_plugin.cli.timm:train'),
    Command('recipe', "write a recipe for timm's own train.py",
            'tricks_plugin.cli.timm:recipe', prints=True),
    Command('browse', 'show training samples before and after the tricks, as pictures',
            'tricks_plugin.cli.browse:main'),
    Command('schedule', 'show the learning rate and the momentum over a run',
            'tricks_plugin.cli.schedule:main'),
    Command('ablate', 'train with and without tricks over several seeds, and say what each brings',
            'tricks_plugin.cli.ablate:main'),
    Command('profile', "show what a sample's reading, decoding and transforms take",
            'tricks_plugin.cli.profile:main', prints=True),
    Command('cache', "fill, show or clear the cache of a config's images",
            'tricks_plugin.cli.cache:main'),
    Command('list', 'list the tricks and the recipes', 'tricks_plugin.cli.listing:main',
            prints=True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``tricks COMMAND ...``.

    Args:
        argv: The words after the program's name; by default the process's.

    Returns:
        The command's exit status; 2 for an unknown command or a wrong setting.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (['-V'], ['--version']):
        print(__version__)
        return 0
    if not words or words[0] in ('-h', '--help', 'help'):
        return run_door(lambda: print(_usage()), prints=True)
    by_name = {command.name: command for command in COMMANDS}
    if words[0] not in by_name:
        return run_door(lambda: _unknown(words[0], by_name))
    return by_name[words[0]].run(words[1:])


def _unknown(name: str, known: dict[str, Command]) -> int:
    raise TrickError(f'tricks: unknown command {name!r}{nearest(name, known)}')


def _usage() -> str:
    width = max(len(command.name) for command in COMMANDS)
    rows = '\n'.join(f'  {command.name:{width}}  {command.help}' for command in COMMANDS)
    return ('usage: tricks COMMAND ...\n\nThe training tricks that papers rely on, for mmdet and '
            f'timm.\n\n{rows}\n\n`tricks COMMAND --help` tells of a command.')
