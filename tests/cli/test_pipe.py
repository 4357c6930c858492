"""What becomes of a command whose output nobody reads, as behind ``| head``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DOOR = """
import sys
from tricks_plugin.cli import run_door
from tricks_plugin.plan.errors import TrickError

def door():
    sys.stdin.readline()
    {body}

sys.exit(run_door(door, {prints}))
"""


def run(body, close, prints):
    """Runs a door whose stdout, or stderr, loses its reader first; the status and the other's."""
    process = subprocess.Popen(
        [sys.executable, '-c', DOOR.format(body=body, prints=prints)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONUNBUFFERED': ''})
    getattr(process, close).close()
    process.stdin.write('go\n')
    process.stdin.close()
    rest = getattr(process, {'stdout': 'stderr', 'stderr': 'stdout'}[close]).read()
    return process.wait(), rest


MANY = "[print('a line', n) for n in range(100_000)]"


@pytest.mark.parametrize('body, close, prints, status', [
    ("print('a line')", 'stdout', False, 0),  # the work was done, only its last words were not read
    (MANY, 'stdout', False, 141),
    (MANY, 'stdout', True, 0),
    ("print('the help'); sys.exit(0)", 'stdout', True, 0),
    ("raise TrickError('wrong')", 'stderr', False, 2),
])
def test_a_closed_pipe_ends_the_command_quietly(body, close, prints, status):
    assert run(body, close, prints) == (status, '')


def test_a_broken_pipe_of_something_else_is_no_secret():
    done = subprocess.run([sys.executable, '-c', DOOR.format(
        body='raise BrokenPipeError(32, "a worker")', prints=False)], input='',
        capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith('a worker\n')


def test_an_error_of_several_lines_is_told_in_one():
    done = subprocess.run([sys.executable, '-c', DOOR.format(
        body="raise TrickError('--a must be\\nb')", prints=False)], input='',
        capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, 'error: --a must be b\n')
