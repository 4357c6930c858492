"""One config of each of mmdet's detector types takes real training steps, plain and with the bag.

Each type is tried in a process of its own, forked once mmdet is imported, with a limit of memory
and of time, so that one that crashes does not end the rest. What has a result is not tried again.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import multiprocessing
import os
import re
import resource
import signal
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
import zoo_data
import zoo_kit
import zoo_stage
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tricks_plugin import apply_tricks
from tricks_plugin.common.files import write_json
from tricks_plugin.plan.recipes import load_recipe, recipe_names

LONGEST = (320, 640, 960)  # px
UPDATES = 2  # the first update of a warm-up from 0 has a rate of 0
_LIVE = {True: 'live', False: 'dead', None: 'too early'}


class _EnoughError(Exception):
    """Ends a training after the updates that were wanted."""


class _NoNumberError(ValueError):
    """A loss is NaN or infinite."""


class _Stop(Hook):
    """Ends the training after some updates, and refuses losses that are no numbers.

    Args:
        iterations: After how many iterations.
    """

    priority = 'LOWEST'

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.losses: list[float] = []
        self._before: dict[str, torch.Tensor] = {}

    def before_train(self, runner) -> None:
        """Remembers the initial weights."""
        self._before = {name: value.detach().clone()
                        for name, value in runner.model.named_parameters()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Counts."""
        self.losses.append(float(outputs['loss']))
        if not math.isfinite(self.losses[-1]):
            raise _NoNumberError(f'the loss is {self.losses[-1]}')
        if len(self.losses) < self.iterations:
            return
        if all(torch.equal(self._before[name], value)
               for name, value in runner.model.named_parameters()):
            raise ValueError('no parameter has moved')
        raise _EnoughError


def smallest(folder: Path) -> dict[str, str]:
    """The smallest config of every kind of model in the zoo, by the class of the model.

    Args:
        folder: Where the answer is kept, since reading the zoo takes half a minute.
    """
    kept = folder / 'kinds.json'
    if kept.is_file():
        return json.loads(kept.read_text())
    best: dict[str, tuple[Any, ...]] = {}
    for name, path in zoo_kit.sources().items():
        cfg = None if name.startswith('configs/') else zoo_kit.load(path)
        if cfg is not None and (kind := zoo_kit.kind_of(cfg)):
            size = zoo_kit.effort(name, cfg)
            best[kind] = min(best.get(kind, size), size)
    found = {kind: best[kind][-1] for kind in sorted(best)}
    write_json(kept, found)
    return found


def step(cfg: Config, work_dir: Path) -> dict[str, Any]:
    """Two updates by the runner that a config builds, with all its hooks.

    Returns:
        The losses per iteration, and what the evidence found where there is any.

    Raises:
        ValueError: If a loss is no number, no parameter has moved, or an evidence failed.
    """
    cfg.work_dir = str(work_dir)
    # Two within a second would have one name, and the first one's visualizer.
    cfg.experiment_name = str(work_dir).replace('/', '-')
    runner = Runner.from_cfg(cfg)
    stop = _Stop(UPDATES * cfg.optim_wrapper.get('accumulative_counts', 1))
    for hook in runner.hooks:
        if type(hook).__name__ == 'TrickEvidenceHook':
            hook.first = stop.iterations
    runner.register_hook(stop)
    with contextlib.suppress(_EnoughError):
        runner.train()
    if len(stop.losses) != stop.iterations:
        raise ValueError(f'the training ended after {len(stop.losses)} iterations')
    found: dict[str, Any] = dict(losses=[round(loss, 5) for loss in stop.losses])
    evidence = work_dir / 'tricks_evidence.json'
    if evidence.is_file():
        rows = json.loads(evidence.read_text())['tricks']
        broken = [f'{row["name"]}: {row["error"]}' for row in rows if row.get('error')]
        if broken:
            raise ValueError(f'evidence failed: {"; ".join(broken)}')
        found['evidence'] = {row['name']: _LIVE[row['live']] for row in rows}
    return found


def one_line(error: BaseException) -> str:
    """An error as one line of a table."""
    text = ' '.join(str(error).split())
    if not text:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f'{last.line} ({Path(last.filename).name}:{last.lineno})'
    return f'{type(error).__name__}: {text[:197] + "..." if len(text) > 200 else text}'


def try_plain(path: Path, work_dir: Path, longest: int) -> tuple[Config | None, dict[str, Any]]:
    """Finds a form of a config in which it trains without tricks.

    A loss that is no number comes from the pretrained weights that are missing, since norms that
    stand still do not scale what random weights make: then they may move.

    Args:
        path: The config.
        work_dir: For the data and the run's files.
        longest: Px of an image's longest side.

    Returns:
        The config that trains, or None; and its losses, or upstream's error as ``reason``.
    """
    data = zoo_data.Folder(work_dir / 'data')
    for thaw in (False, True):
        try:
            staged = zoo_stage.stage(Config.fromfile(path), zoo_kit.zoo(), data, longest, thaw)
            return staged, dict(plain=step(staged, work_dir / f'plain{longest}{thaw}'),
                                form=dict(longest=longest, thaw=thaw))
        except Exception as error:  # whatever upstream raises is the finding
            traceback.print_exc()
            found = dict(status='skipped', reason=one_line(error))
            if not isinstance(error, _NoNumberError):
                break
        gc.collect()
    return None, found


def try_bag(cfg: Config, tricks: str, work_dir: Path) -> dict[str, Any]:
    """The same config with tricks: its verdicts, and its losses or the error as ``reason``.

    A recipe's tricks are named one by one: it would hold back what does not pay in two updates.
    """
    found: dict[str, Any] = {}
    orders = load_recipe(tricks) if tricks in recipe_names() else tricks
    try:
        effective, plan = apply_tricks(cfg, orders)
        found['tricks'] = {one.name: one.status for one in plan.tricks}
        return dict(found, bag=step(effective, work_dir), status='trained', reason='')
    except Exception as error:  # reported per kind
        traceback.print_exc()
        return dict(found, status='failed', reason=one_line(error))


def _allow(seconds: int) -> None:
    """Lets this process run for some seconds of the processor's time from now on."""
    if seconds:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds, hard))


def attempt(kind: str, name: str, path: Path, tricks: str, file: Path, seconds: int = 0) -> None:
    """Tries one kind and writes what came of it, also on the way, in case the process dies.

    What fails on small images, plain or with tricks, is tried on larger ones, since strides,
    kernels and numbers of queries ask for some; a failure with tricks is told all the same.

    Args:
        kind: The class of the model.
        name: The config.
        path: Where it lies.
        tricks: What is tried beside it.
        file: For the result.
        seconds: Limit of the processor's time, plain and with tricks each; 0 for none.
    """
    row: dict[str, Any] = {}
    failures: list[str] = []
    for longest in LONGEST:
        with tempfile.TemporaryDirectory() as folder:
            row = dict(kind=kind, config=name, asked=tricks)
            write_json(file, {**row, 'stage': 'plain', 'failures': failures})
            _allow(seconds)
            begin = time.process_time()
            cfg, found = try_plain(path, Path(folder), longest)
            row.update(found, plain_seconds=round(time.process_time() - begin, 1))
            if cfg is not None:
                gc.collect()
                write_json(file, {**row, 'stage': 'bag', 'failures': failures})
                _allow(seconds)
                begin = time.process_time()
                row.update(try_bag(cfg, tricks, Path(folder) / 'bag'))
                row['seconds'] = round(time.process_time() - begin, 1)
        if row['status'] == 'trained':
            break
        if row['status'] == 'failed':
            failures.append(f"on images of {longest} px: {row['reason']}")
    write_json(file, _with_failures(row, failures))


def _with_failures(row: dict[str, Any], failures: list[str]) -> dict[str, Any]:
    """A result that does not hide what failed with tricks on smaller images."""
    if not failures:
        return row
    reasons = failures if row['status'] == 'trained' or row['reason'] in failures[-1] \
        else [*failures, row['reason']]
    return {**row, 'status': 'trained' if row['status'] == 'trained' else 'failed',
            'reason': '; '.join(reasons)}


def _child(args: tuple[Any, ...], log: Path, memory: int) -> None:
    """The body of a forked process: a limit of memory, a log of its own, and the attempt."""
    resource.setrlimit(resource.RLIMIT_AS, (memory << 30, memory << 30))
    with log.open('w') as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        warnings.simplefilter('ignore')
        attempt(*args)


def _died(file: Path, code: int, seconds: int) -> None:
    """Says in a kind's result that its process has died, and in whose part."""
    row = json.loads(file.read_text())
    stage = row.pop('stage', None)
    if stage is None:
        return
    words = f'it took more than {seconds} s of CPU time' if -code == signal.SIGXCPU else \
        f'the process ended with status {code}'
    failures = row.pop('failures', [])
    row.update(status='skipped' if stage == 'plain' else 'failed', reason=words)
    write_json(file, _with_failures(row, failures))


def _done(file: Path, config: str, tricks: str) -> bool:
    """Whether a file holds the result of a kind's config with these tricks."""
    row = json.loads(file.read_text()) if file.is_file() else {}
    return 'status' in row and (row['config'], row.get('asked')) == (config, tricks)


def train(folder: Path, tricks: str, only: str = '', jobs: int = 1, seconds: int = 600,
          memory: int = 10, again: bool = False) -> list[dict[str, Any]]:
    """Tries every kind whose result is not in the folder yet.

    Args:
        folder: One file of results and one log per kind.
        tricks: What is tried beside the plain config.
        only: A regular expression that a kind's name must hold.
        jobs: Processes at a time.
        seconds: Of the processor's time, that a kind may take plain and with tricks each.
        memory: GiB of address space that its process may take.
        again: Whether kinds with a result are tried again.

    Returns:
        The results of all kinds that have one and that were asked for, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {kind: name for kind, name in smallest(folder).items() if re.search(only, kind)}
    paths = zoo_kit.sources(list(kinds.values()))
    waiting, running = [], {}
    for kind, name in kinds.items():
        file = folder / f'{kind}.json'
        if reason := zoo_kit.no_detector(kind):
            write_json(file, dict(kind=kind, config=name, status='skipped', reason=reason))
        elif again or not _done(file, name, tricks):
            waiting.append((kind, name, paths[name], tricks, file, seconds))
    torch.set_num_threads(1)
    fork = multiprocessing.get_context('fork')
    while waiting or running:
        while waiting and len(running) < jobs:
            args = waiting.pop(0)
            process = fork.Process(
                target=_child, args=(args, folder / f'{args[0]}.log', memory))
            process.start()
            running[process] = args
        for process in list(running):
            process.join(0.2)
            if process.exitcode is not None:
                kind, *_, file, _ = running.pop(process)
                if process.exitcode:
                    _died(file, process.exitcode, seconds)
                row = json.loads(file.read_text())
                print(f"{kind}: {row['status']} {row['reason']}", flush=True)
    return [json.loads((folder / f'{kind}.json').read_text()) for kind in kinds]
