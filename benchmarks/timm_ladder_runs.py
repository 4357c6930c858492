"""The runs of timm_ladder.py: processes, each with a folder, that are judged when they end."""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from timm_ladder_kit import machine, write_whole

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.version import __version__


class Job:
    """A run: a process, its folder, and what it left there."""

    def __init__(self, rung: str, seed: int, command: list[str], args: argparse.Namespace) -> None:
        self.rung, self.seed, self.command = rung, seed, command
        self.epochs, self.device = args.epochs, args.device
        self.folder = args.out / 'runs' / f'seed{seed}' / rung
        self.log = self.folder.with_suffix('.log')
        self.done = self.folder / 'done.json'
        self.process: subprocess.Popen[bytes] | None = None
        self.began, self.threads = 0.0, 0

    def finished(self) -> bool:
        """Whether this very run is there, whole."""
        return self.done.is_file() and json.loads(self.done.read_text())['command'] == self.command

    def start(self, threads: int, lock: int) -> None:
        """Starts the process in an empty folder; it holds the lock as long as it lives."""
        self.threads = threads
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.began = time.perf_counter()
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,),
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)})

    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def end(self) -> dict[str, Any]:
        """Judges the ended process and marks the run as done.

        Raises:
            RuntimeError: With the tail of the log, if it failed, stopped early, or if one of its
                tricks had no effect.
        """
        code = self.process.returncode if self.process else None
        rows = []
        if (self.folder / 'summary.csv').is_file():
            with (self.folder / 'summary.csv').open() as file:
                rows = list(csv.DictReader(file))
        if code or not rows or int(rows[-1]['epoch']) != self.epochs - 1:
            last = f'its last epoch was {rows[-1]["epoch"]}' if rows else 'it left no results'
            tail = ''.join(self.log.open(errors='replace').readlines()[-15:])
            raise RuntimeError(f'{self.rung}, seed {self.seed}: exit status {code}, {last}\n'
                               f'{shlex.join(self.command)}\n{tail}')
        record = {
            'rung': self.rung, 'seed': self.seed, 'command': self.command,
            'top1': float(rows[-1]['eval_top1']), 'train_loss': float(rows[-1]['train_loss']),
            'eval_loss': float(rows[-1]['eval_loss']),
            'seconds': time.perf_counter() - self.began,
            'curve': [{key: float(value) for key, value in row.items()} for row in rows],
            'evidence': self.evidence(), 'machine': machine(self.device), 'threads': self.threads,
            'versions': {**{name: version(name) for name in ('torch', 'timm')},
                         'tricks_plugin': __version__}}
        write_whole(self.done, json.dumps(record, indent=1))
        return record

    def evidence(self) -> dict[str, str]:
        """What the run measured, by trick; empty by timm's own script, which measures nothing.

        Raises:
            RuntimeError: If a trick had no effect, or the rung's own was not applied.
        """
        path = self.folder / 'tricks_evidence.json'
        found = json.loads(path.read_text())['tricks'] if path.is_file() else []
        lines = {one['name']: one['measured'] for one in found}
        dead = [f'{one["name"]}: {one["measured"]}' for one in found if one['live'] is False]
        if '--tricks' in self.command and self.rung not in lines:
            dead.append(f'{self.rung}: not measured; {self.folder / "tricks_plan.json"} says why')
        if dead:
            raise RuntimeError(f'{self.rung}, seed {self.seed}: a trick had no effect, so the rung '
                               f'does not count: {"; ".join(dead)}')
        return lines


@contextlib.contextmanager
def locked(out: Path) -> Iterator[int]:
    """Keeps a second ladder out of a folder, also while runs outlive a killed one.

    Raises:
        TrickError: If the folder is in use.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / '.lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrickError(f'--out {out} is in use by a ladder, or by runs that outlived one; '
                             'wait for them or end them') from None
        yield file.fileno()


def execute(waiting: list[Job], at_once: int, lock: int, console: Console) -> None:
    """Runs the jobs in their order, some at once; ends them all when one fails.

    Args:
        waiting: In the order to start them.
        at_once: Processes at the same time; they share the processor's cores.
        lock: As `locked` gives it.
        console: Where progress is shown.

    Raises:
        RuntimeError: As `Job.end` does.
    """
    signal.signal(signal.SIGTERM, _terminated)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = max(1, (cores or 1) // at_once)
    running: list[Job] = []
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task('', total=len(waiting))
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(waiting.pop(0))
                    running[-1].start(threads, lock)
                    words = ', '.join(f'{job.rung}/{job.seed}' for job in running)
                    progress.update(bar, description=words)
                time.sleep(0.2)
                for job in [job for job in running if job.ended()]:
                    running.remove(job)
                    _tell(job.end(), console)
                    progress.advance(bar)
    finally:
        for job in running:
            job.stop()


def _terminated(number: int, _: Any) -> None:
    """Leaves by way of `execute`, which ends the runs."""
    print('error: ended by SIGTERM; give the same command again to go on', file=sys.stderr)
    sys.exit(128 + number)


def _tell(record: dict[str, Any], console: Console) -> None:
    measured = record['evidence'].get(record['rung'])
    console.print(f'seed {record["seed"]}, {record["rung"]}: top-1 {record["top1"]:.2f} %, '
                  f'{record["seconds"] / 60:.1f} min' + (f'; live: {measured}' if measured else ''),
                  highlight=False, markup=False, soft_wrap=True)
