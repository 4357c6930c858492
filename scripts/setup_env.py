#!/usr/bin/env python
"""Makes a virtual environment in which the project runs, from nothing.

    python scripts/setup_env.py [main|openmmlab]

It installs the packages pinned in `requirements/`, compiles mmcv against the torch that was
installed (or takes the wheel that an earlier run compiled against that very torch), installs the
project in place, and ends with one check. A finished environment is left as it is; an interrupted
run is made good by the next one. Nothing but Python's standard library is needed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, TextIO

from check_env import explain
from host import SetupError, check_host, choose_python, clean_env, jobs, probe, version_of

ROOT = Path(__file__).resolve().parents[1]
STAMP = '.tricks_plugin_ready'
LOG = 'tricks_plugin_setup.log'
REPORT_EVERY = 15.0


class Stack(NamedTuple):
    """One of the two sets of packages the project works on."""

    name: str
    venv: str
    pythons: tuple[str, ...]
    disk_gb: float


STACKS = {
    'main': Stack('main', '.venv', ('3.10', '3.11', '3.12'), 9),
    'openmmlab': Stack('openmmlab', '.venv-openmmlab', ('3.10', '3.11'), 8),
}

# What wheels for the environment must be compiled for.
PROBE_TORCH = """
import json, sys, torch
from torch.utils import cpp_extension
print(json.dumps(dict(
    tag='cp%d%d' % sys.version_info[:2], torch=torch.__version__,
    cuda=torch.cuda.is_available() and cpp_extension.CUDA_HOME is not None)))
"""


def say(text: str) -> None:
    """Prints a line at once, also when stdout is a pipe."""
    print(f'setup: {text}', flush=True)


def fingerprint(stack: Stack) -> str:
    """A hash of all that decides what is installed."""
    names = [f'requirements/{stack.name}.lock', f'requirements/mmcv-{stack.name}.txt', 'setup.py',
             'tricks_plugin/version.py', 'scripts/setup_env.py']
    return hashlib.sha256(b''.join((ROOT / name).read_bytes() for name in names)).hexdigest()


def read_stamp(venv: Path, stack: Stack, root: Path = ROOT) -> str:
    """The fingerprint a finished environment was made from.

    Returns:
        '' when the environment must be made anew: none, half-made, broken, or moved here.
    """
    stamp = venv / STAMP
    if not stamp.exists() or version_of(str(venv / 'bin/python')) not in stack.pythons:
        return ''
    where, _, made_from = stamp.read_text().strip().partition('\n')
    return made_from if where == str(root) else ''


def run(command: list[str], log: Path, what: str, env: dict[str, str] | None = None) -> None:
    """Runs a command with its output in a log, and says every few seconds that it goes on.

    Raises:
        SetupError: the command failed; the reason in one line.
    """
    start = time.monotonic()
    with log.open('w') as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                                   stdin=subprocess.DEVNULL, env=env or clean_env(),
                                   start_new_session=True, close_fds=False)
    try:
        while process.poll() is None:
            try:
                process.wait(REPORT_EVERY)
            except subprocess.TimeoutExpired:
                say(f'  {what}: {time.monotonic() - start:.0f} s{progress(log)}')
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if process.returncode:
        text = log.read_text(errors='replace')
        print('\n'.join(text.splitlines()[-15:]), file=sys.stderr)
        raise SetupError(f'{what} failed: {explain(text)} (log: {log})')


def progress(log: Path) -> str:
    """How far ninja is ([n/m]), read from its log; empty when it has not begun."""
    steps = re.findall(r'^\s*\[(\d+/\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
    return f', {steps[-1]} files compiled' if steps else ''


def install(venv: Path, what: str, *arguments: str) -> None:
    """Installs into the environment with uv, or with pip where uv is not to be had or fails."""
    python, log = str(venv / 'bin/python'), venv / LOG
    if (venv / 'bin/uv').exists():
        try:
            # pip compiles what it installs; uv only when asked. Left to the first import, every
            # process would do it anew where PYTHONDONTWRITEBYTECODE is set: half of an import.
            uv = [str(venv / 'bin/uv'), '--system-certs', 'pip', 'install', '--compile-bytecode',
                  '--python', python]
            return run([*uv, *arguments], log, what)
        except SetupError as error:
            say(f'uv: {error}; trying pip, which is slower')
    run([python, '-m', 'pip', 'install', '--disable-pip-version-check', *arguments], log, what)


def create_venv(venv: Path, python: str) -> None:
    """Makes an empty environment with uv in it."""
    say(f'making {venv.name} with Python {version_of(python)}')
    run([python, '-m', 'venv', '--clear', str(venv)], venv.parent / '.wheels' / LOG,
        'making the environment')
    try:
        install(venv, 'installing uv', '-r', str(ROOT / 'requirements/installer.txt'))
    except SetupError:
        say('uv cannot be had; going on with pip, which is slower')


def wheel_key(tag: str, torch: str, mmcv: str, cuda: bool) -> str:
    """The name of the folder for a compiled mmcv: the Python, torch and mmcv it belongs to."""
    return f'{tag}-torch{torch}-{mmcv.replace("==", "-")}{"-cuda" if cuda else ""}'


def find_wheel(folder: Path, tag: str, mmcv: str) -> Path | None:
    """The wheel of this Python and mmcv in a folder, or None."""
    name, version = mmcv.split('==')
    found = sorted(folder.glob(f'{name.replace("-", "_")}-{version}-{tag}-{tag}-*.whl'))
    return found[0] if found else None


def build_wheel(python: Path, folder: Path, mmcv: str, cuda: bool) -> None:
    """Compiles mmcv into a folder, which appears only once the wheel is whole."""
    for left in folder.parent.glob('.building-*'):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix='.building-', dir=folder.parent))
    env = {'MAX_JOBS': str(jobs()), 'CFLAGS': '-g0', **clean_env(), 'MMCV_WITH_OPS': '1'}
    env |= {'PATH': f'{python.parent}{os.pathsep}{env.get("PATH", "")}', 'TMPDIR': str(work)}
    if not cuda:
        env['CUDA_VISIBLE_DEVICES'] = ''
    say(f'compiling {mmcv}, once ({env["MAX_JOBS"]} at a time; 5 to 10 minutes on two cores)')
    run([str(python), '-m', 'pip', 'wheel', '-v', mmcv, '--no-deps', '--no-build-isolation',
         '--no-cache-dir', '--disable-pip-version-check', '-w', str(work / 'wheels')],
        folder.parent / f'{folder.name}.log', f'compiling {mmcv}', env)
    shutil.rmtree(folder, ignore_errors=True)
    (work / 'wheels').rename(folder)
    shutil.rmtree(work)


def install_mmcv(venv: Path, stack: Stack) -> None:
    """Installs the mmcv that was, or now is, compiled against this environment's torch."""
    python = venv / 'bin/python'
    mmcv = (ROOT / f'requirements/mmcv-{stack.name}.txt').read_text().strip()
    found = probe(str(python), PROBE_TORCH)
    folder = ROOT / '.wheels' / wheel_key(found['tag'], found['torch'], mmcv, found['cuda'])
    wheel = find_wheel(folder, found['tag'], mmcv)
    if wheel is None:
        build_wheel(python, folder, mmcv, found['cuda'])
        wheel = find_wheel(folder, found['tag'], mmcv)
    if wheel is None:
        raise SetupError(f'no wheel of {mmcv} in {folder} after compiling it')
    # From another torch's wheel to this one the version is the same, so it must be forced.
    install(venv, f'installing {mmcv}', '--no-deps', '--force-reinstall', str(wheel))


def check(venv: Path) -> str:
    """The verdict of `check_env.py` on an environment.

    Raises:
        SetupError: something does not load; the reason in one line.
    """
    done = subprocess.run([str(venv / 'bin/python'), str(ROOT / 'scripts/check_env.py')],
                          capture_output=True, text=True, env=clean_env(), cwd=venv)
    verdict = (done.stdout.splitlines() or [explain(done.stderr)])[-1]
    if done.returncode:
        raise SetupError(verdict)
    return verdict


def set_up(stack: Stack) -> None:
    """Brings a stack's environment to the state the requirement files ask for."""
    start, venv, wanted = time.monotonic(), ROOT / stack.venv, fingerprint(stack)
    made_from = read_stamp(venv, stack)
    if made_from == wanted:
        return say(f'{stack.venv} is ready')
    python = choose_python(stack.name, stack.pythons)
    check_host(python, ROOT, 1 if made_from else stack.disk_gb)
    # Without its stamp an environment counts as half-made, and an interrupted run starts it anew.
    (venv / STAMP).unlink(missing_ok=True)
    if not made_from:
        create_venv(venv, python)
    say('installing the pinned packages')
    install(venv, 'installing', '--no-deps', '-r', f'requirements/{stack.name}.lock')
    install_mmcv(venv, stack)
    install(venv, 'installing tricks_plugin', '--no-deps', '--no-build-isolation', '-e', '.')
    say(check(venv))
    (venv / STAMP).write_text(f'{ROOT}\n{wanted}\n')
    say(f'{stack.venv} is ready, after {time.monotonic() - start:.0f} s')


def lock(file: TextIO) -> None:
    """Waits until no other set-up of this folder runs, nor a process that a killed one left."""
    os.set_inheritable(file.fileno(), True)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('waiting for another set-up of this folder')
        fcntl.flock(file, fcntl.LOCK_EX)


def main() -> int:
    """Sets one environment up."""
    parser = argparse.ArgumentParser(description='Makes the environment the project runs in.')
    parser.add_argument('stack', nargs='?', default='main', choices=sorted(STACKS))
    stack = STACKS[parser.parse_args().stack]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    (ROOT / '.wheels').mkdir(exist_ok=True)
    try:
        with (ROOT / '.wheels/.lock').open('w') as file:
            lock(file)
            set_up(stack)
    except SetupError as error:
        print(f'setup: error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('setup: interrupted; the next run goes on', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
