"""``python -m tricks_plugin.timm recipe NAME``: a recipe for the timm script at hand."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tricks_plugin.common.door import run_door
from tricks_plugin.plan.errors import TrickError

from .recipe import Options, recipe_names, write_recipe
from .script import find_script

__all__ = ['main']

_PROGRAM = 'python -m tricks_plugin.timm'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Recipes for timm's train.py.")
    commands = parser.add_subparsers(dest='command', required=True)
    recipe = commands.add_parser(
        'recipe', help='write a recipe as YAML for `train.py -c FILE`',
        description="Writes a recipe as YAML that your version of timm's train.py takes. What "
                    'that version cannot do is left out, and said on stderr and in the file.')
    recipe.add_argument('name', metavar='NAME', help=f'one of {", ".join(recipe_names())}')
    version = recipe.add_mutually_exclusive_group()
    version.add_argument('--script', metavar='PATH',
                         help='the train.py to write for; its flags are read from its text')
    version.add_argument('--timm-version', metavar='X.Y.Z',
                         help='the timm release to write for (default: the installed one)')
    recipe.add_argument('--num-classes', '--classes', metavar='K', help='number of classes (1000)')
    recipe.add_argument('--img-size', metavar='PX',
                        help="side of the images at evaluation (the model's)")
    recipe.add_argument('-b', '--batch-size', metavar='N', help='images per process (128)')
    recipe.add_argument('--epochs', metavar='N', help="length of the run, warm-up included (the "
                                                      "paper's)")
    recipe.add_argument('--device', metavar='NAME', help='where to train: cpu, or cuda for the GPU '
                                                         'of this machine (any current GPU)')
    recipe.add_argument('--model', metavar='NAME', help='the model to plan for (resnet50)')
    recipe.add_argument('-o', '--output', metavar='FILE', help='where to write (default: stdout)')
    return parser


def _write(words: Sequence[str]) -> None:
    """Writes one recipe, and a line on stderr for each thing the script cannot do."""
    args = _parser().parse_args(words)
    script = find_script(args.script, args.timm_version)
    options = Options(**{field.name: getattr(args, field.name) for field in
                         dataclasses.fields(Options)})
    printed = write_recipe(args.name, script, options, _command(words, args.output))
    if args.output is None:
        print(printed.text, end='')
    else:
        try:
            Path(args.output).write_text(printed.text, encoding='utf-8')
        except OSError as error:
            raise TrickError(f'--output must be a file that can be written, got {args.output!r} '
                             f'({error.strerror})') from None
    for note in printed.notes:
        print(f'note: {note}', file=sys.stderr)


def _command(words: Sequence[str], output: str | None) -> str:
    """The command for the file's head, which is the same wherever it is written to."""
    kept = [word for word in words if output is None or word not in (
        '-o', '--output', output, f'--output={output}')]
    return f'{_PROGRAM} {shlex.join(kept)}'


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for a wrong setting."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run_door(lambda: _write(words))


if __name__ == '__main__':
    sys.exit(main())
