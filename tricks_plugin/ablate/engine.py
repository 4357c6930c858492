"""Runs what is not finished yet, some at once, and keeps the tables up to date."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..common.file_lock import is_locked
from ..common.files import write_json, write_text
from ..plan.errors import TrickError
from .folder import Folder, last_telling_line
from .launch import Handle, Launcher
from .planned import Planned
from .progress import Progress

__all__ = ['Engine', 'Job']

_POLL = 0.3  # seconds
WRONG_SETTING = 2  # exit status of a run whose settings are wrong


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is to be done.

    Attributes:
        subject: The subject's name.
        planned: Its rung.
        seed: The seed.
    """

    subject: str
    planned: Planned
    seed: int

    @property
    def words(self) -> str:
        """For people."""
        return f'{self.subject}, {self.planned.rung.name}, seed {self.seed}'


class Engine:
    """Runs jobs in their order.

    Args:
        folder: The ablation's folder, locked by the caller.
        launcher: Starts the runs.
        at_once: How many run at the same time.
        metric: The metric that counts; None for the run's default.
        keep_checkpoints: Whether each run keeps its last checkpoint.
        watched: Whether runs end when this process does; not those of a cluster.
    """

    def __init__(self, folder: Folder, launcher: Launcher, at_once: int, metric: str | None,
                 keep_checkpoints: bool, watched: bool) -> None:
        self._folder = folder
        self._launcher = launcher
        self._at_once = at_once
        self._metric = metric
        self._keep = keep_checkpoints
        self._watched = watched

    def run(self, jobs: list[Job], progress: Progress) -> int:
        """Runs the jobs; a failed one is told, and the rest goes on.

        Returns:
            How many have failed.

        Raises:
            TrickError: If a setting is wrong that all runs share, such as the metric's name.
        """
        waiting = list(jobs)
        running: dict[int, tuple[Job, Handle, float]] = {}
        failed = 0
        with contextlib.ExitStack() as stack:
            stack.enter_context(_leaving_at_sigterm())
            stack.callback(lambda: [handle.stop() for _, handle, _ in running.values()])
            while waiting or running:
                while waiting and len(running) < self._at_once:
                    slot = next(n for n in range(self._at_once) if n not in running)
                    job = waiting.pop(0)
                    handle = self._start(job, slot)
                    if handle is None:
                        failed += self._refuse(job, progress)
                        continue
                    running[slot] = (job, handle, time.monotonic())
                    progress.now([one.words for one, _, _ in running.values()])
                time.sleep(_POLL)
                for slot, (job, handle, began) in list(running.items()):
                    status = handle.status()
                    if status is not None:
                        del running[slot]
                        failed += self._end(job, status, time.monotonic() - began, progress)
        return failed

    def _start(self, job: Job, slot: int) -> Handle | None:
        """Starts a run in an empty folder; None where another process trains there.

        A former result that does not count here is moved aside, not deleted.
        """
        place = self._place(job)
        if is_locked(place.with_name(f'.{place.name}.lock')):
            return None
        self._folder.move_aside(place)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        spec = {
            'config': self._content(job.planned, place), 'folder': str(place),
            'subject': job.subject, 'rung': job.planned.rung.name, 'seed': job.seed,
            'metric': self._metric, 'settings': job.planned.settings,
            'planned': list(job.planned.promised), 'keep_checkpoint': self._keep,
            'parent': os.getpid() if self._watched else None}
        write_json(place / 'spec.json', spec)
        command = [sys.executable, '-m', job.planned.program, str(place / 'spec.json')]
        return self._launcher.start(command, place / 'log.txt', slot)

    @staticmethod
    def _content(planned: Planned, place: Path) -> str:
        """Writes what a program reads; returns the file's path."""
        path = place / f'settings{planned.suffix}'
        write_text(path, planned.content)
        return str(path)

    def _refuse(self, job: Job, progress: Progress) -> int:
        """Tells of a run that another process is at, and leaves its folder alone."""
        progress.failed(job.words, 'another process trains it; wait for it or end it', 0.0)
        return 1

    def measure_speed(self, subject: str, first: Planned, seeds: tuple[int, ...]) -> str:
        """Measures a subject's throughput of inference where that is not known here.

        Args:
            subject: Its name.
            first: Its first rung.
            seeds: Whose checkpoints may be loaded.

        Returns:
            Why there is no number; empty where there is one, or none is to be had.
        """
        known = self._folder.speed(subject)
        if not first.speed or (known is not None and known['settings'] == first.settings):
            return ''
        place = (self._folder.path / 'speed' / subject).resolve()
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        marks = [self._folder.run_folder(subject, first.rung.name, seed) / 'work' /
                 'last_checkpoint' for seed in seeds]
        kept = [mark.read_text().strip() for mark in marks if mark.is_file()]
        write_json(place / 'spec.json', {
            'config': self._content(first, place), 'folder': str(place), 'seed': 0,
            'settings': first.settings, 'keep_checkpoint': False,
            'checkpoint': next((path for path in kept if Path(path).is_file()), None),
            'parent': os.getpid() if self._watched else None})
        command = [sys.executable, '-m', first.speed, str(place / 'spec.json')]
        handle = self._launcher.start(command, place / 'log.txt', 0)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_leaving_at_sigterm())
            stack.callback(handle.stop)
            while handle.status() is None:
                time.sleep(_POLL)
        found = self._folder.speed(subject) is not None
        return '' if found else last_telling_line(place / 'log.txt')

    def _end(self, job: Job, status: int, seconds: float, progress: Progress) -> int:
        """Takes an ended run; returns 1 if it has failed."""
        result = self._folder.result(job.subject, job.planned.rung.name, job.seed)
        if result is None:
            error = last_telling_line(self._place(job) / 'log.txt')
            write_json(self._place(job) / 'failure.json', {
                'error': error, 'status': status, 'seconds': seconds})
            progress.failed(job.words, error, seconds)
            if status == WRONG_SETTING and '--metric' in error:
                raise TrickError(error.removeprefix('error: '))
        else:
            progress.finished(job.words, result, seconds)
        write_json(self._folder.path / 'study.json', self._folder.study().to_dict())
        return int(result is None)

    def _place(self, job: Job) -> Path:
        return self._folder.run_folder(job.subject, job.planned.rung.name, job.seed).resolve()

    def is_done(self, job: Job, code: str, versions: dict[str, str], any_code: bool) -> bool:
        """Whether a run is there, whole, of these settings and of this code.

        Args:
            job: The run.
            code: Digest of the package's code.
            versions: Of the libraries.
            any_code: Whether one of other code or libraries counts as well.
        """
        found: dict[str, Any] | None = self._folder.result(
            job.subject, job.planned.rung.name, job.seed)
        if found is None or found['settings'] != job.planned.settings:
            return False
        return any_code or (found['code'], found['versions']) == (code, versions)


@contextlib.contextmanager
def _leaving_at_sigterm() -> Iterator[None]:
    """Has SIGTERM end the process by an exception, so that the runs are ended first."""
    if threading.current_thread() is not threading.main_thread():  # who alone may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, _: Any) -> None:
    """Leaves by way of what has started runs, which ends them."""
    print('error: ended by SIGTERM; give the same command again to go on', file=sys.stderr)
    sys.exit(128 + number)
