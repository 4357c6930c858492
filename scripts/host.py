"""What the machine has for a set-up: a Python that suits, a compiler, headers, disk, cores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from check_env import explain

PROBE_HOST = """
import importlib.util, json, os, sys, sysconfig
print(json.dumps(dict(
    venv=importlib.util.find_spec('ensurepip') is not None,
    headers=os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))))
"""


class SetupError(Exception):
    """A reason to stop, in one line for the user."""


def clean_env() -> dict[str, str]:
    """The user's environment without what would lead Python away from the virtual one."""
    drop = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', '__PYVENV_LAUNCHER__')
    return {key: value for key, value in os.environ.items() if key not in drop}


def probe(python: str, code: str) -> dict[str, Any]:
    """What a snippet that prints JSON finds out, run by a Python.

    Raises:
        SetupError: the snippet fails; the reason in one line.
    """
    done = subprocess.run([python, '-c', code], capture_output=True, text=True, env=clean_env())
    if done.returncode:
        raise SetupError(f'{python}: {explain(done.stderr)}')
    return dict(json.loads(done.stdout.splitlines()[-1]))


def version_of(python: str) -> str:
    """The version ('3.11') that a Python command runs, or '' when it does not run."""
    code = 'import sys; print("%d.%d" % sys.version_info[:2])'
    try:
        done = subprocess.run([python, '-c', code], capture_output=True, text=True, env=clean_env())
    except OSError:
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''


def choose_python(stack: str, versions: Sequence[str]) -> str:
    """The Python to make an environment with: the one that runs this, or another on PATH.

    Args:
        stack: the name of the stack, for the error.
        versions: the versions that suit, as '3.11', oldest first.

    Returns:
        A command or a path.

    Raises:
        SetupError: none suits.
    """
    # Of a virtual environment, the Python it was made from: the former may be about to go.
    this = getattr(sys, '_base_executable', None) or sys.executable
    for name in [this, *(f'python{version}' for version in reversed(versions))]:
        if version_of(name) in versions:
            return name
    newest = versions[-1]
    raise SetupError(f'the {stack} stack needs Python {versions[0]} to {newest}, found '
                     f'{sys.version_info[0]}.{sys.version_info[1]}: install Python {newest} '
                     f'so that python{newest} is on PATH')


def check_host(python: str, folder: Path, disk_gb: float) -> None:
    """Stops with one line when something is missing that no later step can bring.

    Args:
        python: the Python to make the environment with.
        folder: where the environment will be.
        disk_gb: how much room it needs.

    Raises:
        SetupError: no C++ compiler, no venv module, no C headers, or too full a disk.
    """
    compilers = [os.environ.get('CXX', ''), 'g++', 'c++', 'clang++']
    if not any(name and shutil.which(name.split()[0]) for name in compilers):
        raise SetupError('no C++ compiler found (g++, c++ or clang++), and mmcv must be compiled: '
                         'install one (Debian, Ubuntu: apt-get install g++)')
    can = probe(python, PROBE_HOST)
    if not can['venv']:
        raise SetupError(f'{python} cannot make virtual environments: install its venv package '
                         '(Debian, Ubuntu: apt-get install python3-venv)')
    if not can['headers']:
        raise SetupError(f'{python}: {explain("Python.h: No such file")}')
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < disk_gb:
        raise SetupError(f'{free_gb:.1f} GB free on the disk of {folder}, {disk_gb:g} GB needed')


def jobs() -> int:
    """How many files to compile at a time: the cores at hand, at 2 GB of memory each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    memory_gb = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9
    return max(1, min(cores or 1, int(memory_gb / 2)))
