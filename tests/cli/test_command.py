"""The `tricks` command: its table of subcommands, help, and wrong words."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from tricks_plugin.cli import COMMANDS, main
from tricks_plugin.plan import TRICKS
from tricks_plugin.plan.recipes import load_recipe
from tricks_plugin.version import __version__


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.name)
def test_every_row_leads_to_a_function_that_tells_of_itself(command, capsys):
    module, _, function = command.where.partition(':')
    assert callable(getattr(importlib.import_module(module), function))
    with pytest.raises(SystemExit) as ended:
        main([command.name, '--help'])
    assert ended.value.code == 0
    assert 'usage:' in capsys.readouterr().out


def test_without_a_word_it_lists_its_commands(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f'  {command.name} ' in out and command.help in out for command in COMMANDS)
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'{__version__}\n'


def test_an_unknown_command_is_one_line_that_names_the_nearest(capsys):
    assert main(['pln']) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith("error: tricks: unknown command 'pln'; did you mean 'plan'?")
    assert err.count('\n') == 1


def test_the_list_holds_every_trick_with_its_trainers(capsys):
    assert main(['list', '--json']) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row['name'] for row in listed['tricks']] == [t.name for t in TRICKS.in_order()]
    assert all(row['mmdet'] and row['source'] for row in listed['tricks'])
    assert listed['recipes']['baseline_step'] == list(load_recipe('baseline_step'))
    assert main(['list']) == 0
    assert 'no_bias_decay' in capsys.readouterr().out


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_is_no_error(python_env):
    command = f'{sys.executable} -m tricks_plugin list --json | head -c 10; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(['bash', '-c', command], env=python_env, capture_output=True, text=True)
    assert done.stderr == '' and done.stdout.endswith('0\n')


def test_help_needs_neither_torch_nor_mmengine(python_env):
    code = ("import sys\nfor name in ('torch', 'mmengine', 'timm'): sys.modules[name] = None\n"
            'from tricks_plugin.cli import main\nsys.exit(main([]))')
    done = subprocess.run([sys.executable, '-c', code], env=python_env, capture_output=True,
                          text=True)
    assert done.returncode == 0 and 'tricks COMMAND' in done.stdout
