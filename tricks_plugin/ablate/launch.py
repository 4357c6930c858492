"""Where runs are executed: processes of this machine, or jobs of a cluster by submitit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from ..common.processes import processors
from ..plan.errors import TrickError

__all__ = ['Cluster', 'Handle', 'Launcher', 'Local', 'launcher_of']

_PATIENCE = 10.0  # seconds that a run has to end after SIGTERM


class Handle(ABC):
    """A run that was started."""

    @abstractmethod
    def status(self) -> int | None:
        """Its exit status; None while it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Ends it, with its workers."""


class Launcher(ABC):
    """Starts runs."""

    @abstractmethod
    def start(self, command: list[str], log: Path, slot: int) -> Handle:
        """Starts a run.

        Args:
            command: The words of the program.
            log: The file that gets what it prints.
            slot: Its place among those that run at once, from 0.
        """


class _Process(Handle):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def status(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
                return


class Local(Launcher):
    """Processes of this machine, a GPU each where there are several.

    Args:
        jobs: How many run at once; they share the processors.
        lock: A file descriptor that a run holds as long as it lives.
    """

    def __init__(self, jobs: int, lock: int) -> None:
        self._lock = lock
        self._threads = max(1, processors() // jobs)
        self._devices = _devices()

    def start(self, command: list[str], log: Path, slot: int) -> Handle:
        """See `Launcher.start`."""
        environment = {'OMP_NUM_THREADS': str(self._threads), **os.environ}
        if len(self._devices) > 1:
            environment['CUDA_VISIBLE_DEVICES'] = self._devices[slot % len(self._devices)]
        with log.open('wb') as file:
            return _Process(subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                pass_fds=(self._lock,), env=environment, start_new_session=True))


def _devices() -> list[str]:
    """The GPUs that runs may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    if given is not None:
        return [name.strip() for name in given.split(',') if name.strip()]
    import torch
    return [str(index) for index in range(torch.cuda.device_count())]


class _Job(Handle):
    def __init__(self, job: Any) -> None:
        self._job = job

    def status(self) -> int | None:
        if not self._job.done():
            return None
        try:
            return int(self._job.result())
        except Exception:  # a job that was cancelled, timed out or lost its node
            return 1

    def stop(self) -> None:
        if not self._job.done():
            self._job.cancel()


class Cluster(Launcher):
    """Jobs by submitit: of Slurm, or of its local executor.

    Args:
        kind: ``slurm`` or ``local``.
        folder: Where submitit keeps its files.
        options: Of ``executor.update_parameters``, such as ``slurm_partition``.

    Raises:
        TrickError: If submitit is not installed, or there is no Slurm here.
    """

    def __init__(self, kind: str, folder: Path, options: dict[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise TrickError(f'--launcher {kind} needs submitit: '
                             "pip install 'tricks_plugin[slurm]'") from None
        if kind == 'slurm' and not any('gpu' in name or 'gres' in name for name in options):
            print('--launcher slurm asks for no GPU; --launcher-options gpus_per_node=1 asks for '
                  'one', file=sys.stderr)
        try:
            self._executor = submitit.AutoExecutor(folder=str(folder), cluster=kind)
            self._executor.update_parameters(
                **{'name': 'tricks', 'timeout_min': 24 * 60, 'gpus_per_node': 0, **options})
        except Exception as error:  # submitit raises RuntimeError, TypeError and NameError here
            raise TrickError(f'--launcher {kind}: {" ".join(str(error).split())}') from error

    def start(self, command: list[str], log: Path, slot: int) -> Handle:
        """See `Launcher.start`."""
        return _Job(self._executor.submit(run_logged, command, str(log), os.getcwd()))


def run_logged(command: list[str], log: str, folder: str) -> int:
    """Runs a command with its output in a file, and returns its exit status."""
    path = os.pathsep.join(filter(None, [folder, os.environ.get('PYTHONPATH')]))
    with open(log, 'wb') as file:
        return subprocess.run(
            [sys.executable, *command[1:]], stdout=file, stderr=subprocess.STDOUT, check=False,
            cwd=folder, env={**os.environ, 'PYTHONPATH': path}).returncode


def launcher_of(kind: str, jobs: int, lock: int, out: Path, options: dict[str, Any]) -> Launcher:
    """The launcher of ``--launcher``.

    Args:
        kind: ``none``, ``slurm`` or ``local``.
        jobs: How many run at once.
        lock: See `Local`.
        out: The ablation's folder.
        options: See `Cluster`.
    """
    return Local(jobs, lock) if kind == 'none' else Cluster(kind, out / 'submitit', options)
