"""Every command and every `tricks = ...` line that a page shows is one that the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tricks_plugin.cli import COMMANDS, main
from tricks_plugin.plan import TRICKS
from tricks_plugin.plan.recipes import recipe_names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'tricks_plugin' / 'tricks').glob('*/README.md'))]
# What a door of tools/ is under another name.
DOORS = {'tools/plan.py': 'plan', 'tools/train.py': 'train', 'tools/test.py': 'test',
         'tools/timm_train.py': 'timm'}


def shown(start: str) -> list[tuple[str, str]]:
    """The pages' indented lines that begin so, continued over backslashes, without comments."""
    found = []
    for page in PAGES:
        text = re.sub(r' \\\n\s*', ' ', page.read_text())
        for line in re.findall(rf'^    ({start}.*)$', text, re.MULTILINE):
            command = re.split(r'\s{2,}#|\s#\s', line)[0]
            found.append((page.relative_to(ROOT).as_posix(), command.strip()))
    assert found, start
    return found


def flags_of(words: list[str], tail: str) -> set[str]:
    """The flags among words, without brackets and values; of what stands before or after `--`."""
    if '--' in words:
        at = words.index('--')
        words = words[at + 1:] if tail == 'after' else words[:at]
    elif tail == 'after':
        return set()
    return {re.split(r'[=\]|]', word.lstrip('['))[0] for word in words
            if re.match(r'\[?--?[A-Za-z]', word)}


@pytest.fixture(scope='module')
def helps():
    """The help of a subcommand, as `tricks NAME --help` prints it."""
    import contextlib
    import io
    known: dict[tuple[str, ...], str] = {}

    def text(*words: str) -> str:
        if words not in known:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
                main([*words, '--help'])
            known[words] = out.getvalue()
        return known[words]

    return text


def check(page: str, line: str, sub: str, words: list[str], helps) -> None:
    assert sub in {command.name for command in COMMANDS}, (page, line)
    own = [sub, 'timm'] if words[:1] == ['timm'] else [sub]
    known, inner = (set(re.findall(r'(?<![\w-])--?[A-Za-z][\w-]*', helps(*words)))
                    for words in (own, ['timm']))
    if own == ['profile', 'timm']:  # takes the training's flags beside its own
        known |= inner
    for flag in flags_of(words, 'before'):
        assert flag in known, (page, line, flag)
    for flag in flags_of(words, 'after'):
        assert flag in inner, (page, line, flag)
    for name in wanted(words):
        assert name in recipe_names() or name in TRICKS, (page, line, name)


def wanted(words: list[str]) -> set[str]:
    """The names after --tricks, where they are names."""
    after = [words[at + 1] for at, word in enumerate(words[:-1]) if word.lstrip('[') == '--tricks']
    return {name for one in after for name in one.rstrip(']').split(',')
            if re.fullmatch(r'[a-z_0-9]+', name)}


def test_a_flag_or_a_trick_that_is_none_is_seen(helps):
    for words in (['CONFIG', '--trick', 'mixup'], ['CONFIG', '--tricks', 'mixdown']):
        with pytest.raises(AssertionError):
            check('here', ' '.join(words), 'plan', words, helps)
    with pytest.raises(AssertionError):
        check('here', '', 'ablate', ['timm', '--out', 'DIR', '--', '--modell', 'x'], helps)


def test_commands_of_the_installed_program(helps):
    for page, line in shown('tricks [a-z]'):
        words = line.split()
        check(page, line, words[1], words[2:], helps)


def test_the_doors_and_scripts(helps):
    for page, line in shown('(?:python|torchrun) '):
        words = line.split()
        if words[1] == '-m' and words[2].startswith('tricks_plugin'):
            check(page, line, words[3], words[4:], helps)
            continue
        at = next((n for n, word in enumerate(words) if word.endswith('.py')), None)
        if at is None or words[at] == 'train.py' or '<' in words[at]:
            continue  # a module, timm's own script, or mmdet's
        script = words[at]
        assert (ROOT / script).is_file(), (page, line)
        if script in DOORS:
            check(page, line, DOORS[script], words[at + 1:], helps)
            continue
        source = (ROOT / script).read_text()
        for flag in flags_of(words[at + 1:], 'before'):
            # Written out, or made from a setting's name where a script makes its flags so.
            name = flag.removeprefix('--').replace('-', '_')
            made = "'--' + name.replace('_', '-')" in source and re.search(rf'\b{name}=', source)
            assert f"'{flag}'" in source or made, (page, line, flag)


def test_targets_of_make():
    known = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    for page, line in shown('make '):
        assert line.split()[1] in known, (page, line)


def test_parameters_of_tricks():
    for page, line in shown(r'tricks = dict\('):
        for name, values in eval(line.partition('=')[2]).items():
            assert name in TRICKS, (page, line)
            if isinstance(values, dict):
                TRICKS.get(name).from_dict(values)
