"""The folder of an ablation: what it holds, who may write there, and what came of its runs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..common.file_lock import is_locked, locked
from ..common.files import write_json
from ..plan.errors import TrickError
from .metrics import ABSENT, direction_of, greater_is_better, is_absent, unit_of
from .notes import notes_of
from .plan_file import differences, read_plan
from .study import Point, Run, Study, TrickCheck

__all__ = ['Folder', 'last_telling_line']

_RESULT = ('settings', 'metric', 'value', 'curve', 'seconds', 'memory_mb', 'checks', 'code',
           'machine', 'versions', 'weights', 'order')
_SPEED = ('settings', 'images_per_s', 'parameters', 'batch', 'words', 'machine')


class Folder:
    """An ablation's folder.

    It holds ``plan.json`` (what is planned), ``runs/SUBJECT/RUNG/seedN`` (a run's log, work
    dir and, written last, its ``result.json``), and ``study.json``, which can be made anew from
    these at any time.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / 'plan.json'

    def run_folder(self, subject: str, rung: str, seed: int) -> Path:
        """Where a run lies."""
        return self.path / 'runs' / subject / rung / f'seed{seed}'

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keeps a second ablation out, also while runs outlive a killed one.

        Raises:
            TrickError: If the folder is in use.
        """
        with locked(self.path / '.lock', tries=3) as file:  # a look is short
            if file is None:
                raise TrickError(f'--out {self.path} is in use by an ablation, or by runs that '
                                 'outlived one; wait for them or end them')
            yield file.fileno()

    def in_use(self) -> bool:
        """Whether an ablation is at work here."""
        return is_locked(self.path / '.lock')

    def move_aside(self, place: Path) -> None:
        """Renames a run's folder that holds a result, so that a new run does not replace it.

        Args:
            place: The folder; its new name has the digest of the code that ran there.
        """
        found = _whole(place / 'result.json', ('code',))
        if found is None:
            return
        for number in itertools.count():
            aside = place.with_name(
                f'{place.name}.old-{found["code"]}{f"-{number}" if number else ""}')
            if not aside.exists():
                place.rename(aside)
                return

    def speed(self, subject: str) -> dict[str, Any] | None:
        """What is known of a subject's throughput; None for nothing."""
        return _whole(self.path / 'speed' / subject / 'speed.json', _SPEED)

    def read_plan(self) -> dict[str, Any] | None:
        """What is planned; None for a folder that holds no ablation.

        Raises:
            TrickError: If the file is damaged or another program's; if the place is no folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise TrickError(f'--out must be a folder, got the file {self.path}')
        return read_plan(self.plan_file)

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Writes what is planned.

        Args:
            plan: ``study`` (a Study's dict without runs), ``identity`` (subject to rung to the
                digest of its settings), ``code``, ``greater`` (whether more of the metric is
                better, where the user has said it; it then holds until he says otherwise), and
                ``idle`` (by subject, the rungs that change nothing).

        Raises:
            TrickError: If the folder holds results of another ablation; names what differs.
        """
        known = self.read_plan()
        if known is not None and any(self.path.glob('runs/*/*/seed*/result.json')):
            if odd := differences(known, plan):
                raise TrickError(f'--out {self.path} holds another ablation ({"; ".join(odd)}): '
                                 'give another folder')
            seeds = [seed for seed in known['study']['seeds'] if self.has_results(seed)]
            plan['study']['seeds'] = sorted({*seeds, *plan['study']['seeds']})
        if known is not None and plan.get('greater') is None \
                and known['study']['metric'] == plan['study']['metric']:
            plan['greater'] = known.get('greater')
        write_json(self.plan_file, plan)

    def keep_direction(self, greater: bool) -> None:
        """Notes whether more of the metric is better; of the runs it changes nothing.

        Raises:
            TrickError: If the folder holds no ablation.
        """
        write_json(self.plan_file, {**self._planned(), 'greater': greater})

    def has_results(self, seed: int) -> bool:
        """Whether any run of a seed is finished."""
        return any(self.path.glob(f'runs/*/*/seed{seed}/result.json'))

    def result(self, subject: str, rung: str, seed: int) -> dict[str, Any] | None:
        """What a finished run has left; None for one that is not finished."""
        return _whole(self.run_folder(subject, rung, seed) / 'result.json', _RESULT)

    def study(self, extra_notes: tuple[str, ...] = ()) -> Study:
        """The ablation as it stands.

        Args:
            extra_notes: Sentences beside those that follow from the runs.

        Raises:
            TrickError: If the folder holds no ablation.
        """
        plan = self._planned()
        study = Study.from_dict(plan['study'])
        results: dict[tuple[str, str, int], dict[str, Any]] = {}
        runs = []
        busy = self.in_use()
        for subject in study.subjects:
            for rung in subject.rungs:
                for seed in study.seeds:
                    run, result = self._run(plan, subject.name, rung.name, rung.same_as, seed, busy)
                    runs.append(run)
                    if result is not None:
                        results[subject.name, rung.name, seed] = result
        study = _with_metric(dataclasses.replace(study, runs=tuple(runs)), results,
                             plan.get('greater'))
        study, speeds = self._with_speed(study, plan)
        return dataclasses.replace(
            study, environment={**study.environment, **_of_runs(results.values())},
            notes=(*study.notes, *extra_notes, *speeds, *notes_of(study, results)))

    def _planned(self) -> dict[str, Any]:
        """What is planned.

        Raises:
            TrickError: If the folder holds no ablation.
        """
        plan = self.read_plan()
        if plan is None:
            raise TrickError(f'--out {self.path} holds no ablation')
        return plan

    def _with_speed(self, study: Study, plan: dict[str, Any]) -> tuple[Study, list[str]]:
        """The study with the throughputs that were measured, and how they were."""
        subjects, words = [], {}
        for one in study.subjects:
            found = self.speed(one.name)
            if found and found['settings'] == plan['identity'][one.name][one.rungs[0].name]:
                one = dataclasses.replace(
                    one, images_per_s=found['images_per_s'],
                    parameters=one.parameters or found['parameters'])
                words[f'of {found["batch"]} images {found["words"]}, on {found["machine"]}'] = 0
            subjects.append(one)
        notes = [f'Inference throughput: median of passes {text}; data loading is left out.'
                 for text in words]
        return dataclasses.replace(study, subjects=tuple(subjects)), notes

    def _run(self, plan: dict[str, Any], subject: str, rung: str, same_as: str | None,
             seed: int, busy: bool) -> tuple[Run, dict[str, Any] | None]:
        """A run as it stands, by the folder of the rung that stands for it."""
        place = same_as or rung
        folder = self.run_folder(subject, place, seed)
        common: dict[str, Any] = {
            'subject': subject, 'rung': rung, 'seed': seed,
            'folder': folder.relative_to(self.path).as_posix()}
        result = self.result(subject, place, seed)
        if result is not None and result['settings'] == plan['identity'][subject][rung]:
            metric, value = result['metric'], result['value']
            absent = is_absent(metric, value)
            return Run(**common, status='finished', value=None if absent else value,
                       curve=tuple(Point(one['epoch'], one['iteration'], one['seconds'],
                                         one['value'])
                                   for one in result['curve'] if one['value'] is not None
                                   and not is_absent(metric, one['value'])),
                       seconds=result['seconds'], memory_mb=result['memory_mb'],
                       checks=tuple(TrickCheck(**one) for one in result['checks']),
                       error=ABSENT if absent else 'the metric is not a number'
                       if value is None else '',
                       code=result['code'], machine=result['machine'],
                       versions=result['versions']), result
        failure = _whole(folder / 'failure.json', ('error',))
        if failure is not None:
            return Run(**common, status='failed', error=str(failure['error'])), None
        began = (folder / 'spec.json').is_file() and result is None and busy
        return Run(**common, status='running' if began else 'waiting'), None


def _whole(path: Path, keys: Iterable[str]) -> dict[str, Any] | None:
    """An object of a JSON file; None where there is none, or not a whole one.

    Args:
        path: The file.
        keys: What it must have.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.keys() >= set(keys) else None


def _of_runs(results: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The machine and the libraries of the runs, which are not always those of the command."""
    machines: set[str] = set()
    versions: dict[str, set[str]] = {}
    for one in results:
        machines.add(str(one['machine']))
        for name, version in one['versions'].items():
            versions.setdefault(name, set()).add(str(version))
    found = {'machine': machines, **versions} if machines else versions
    return {name: '; '.join(sorted(values)) for name, values in found.items()}


def _with_metric(study: Study, results: dict[Any, dict[str, Any]], greater: bool | None) -> Study:
    """The study with its metric's name, which the first validation may have decided.

    Args:
        study: It, with its runs.
        results: What its finished runs have left.
        greater: See `greater_is_better`.
    """
    metric = study.metric or next((one['metric'] for one in results.values()), '')
    unit, factor = unit_of(metric) if metric else ('', 1.0)
    parameters = {key[0]: one.get('parameters') for key, one in reversed(list(results.items()))}
    subjects = tuple(dataclasses.replace(one, parameters=one.parameters or parameters.get(one.name))
                     for one in study.subjects)
    notes = [] if not metric or greater is not None or direction_of(metric) is not None else [
        f'The name {metric} does not tell whether more of it is better; it is taken so. With '
        '--report-only, --smaller-is-better says otherwise.']
    return dataclasses.replace(study, metric=metric, unit=unit, factor=factor, subjects=subjects,
                               greater=greater_is_better(metric, greater),
                               notes=(*study.notes, *notes))


def last_telling_line(log: Path) -> str:
    """The line of a log that tells best why the program has failed: the last one with words."""
    if not log.is_file():
        return 'it left no log'
    lines = [line.strip() for line in log.read_text(errors='replace').splitlines()[-60:]]
    lines = [line for line in lines if any(letter.isalpha() for letter in line)]
    errors = [line for line in lines if 'Error' in line.split(' ')[0] or
              line.startswith('error:')]
    return (errors or lines or ['it printed nothing'])[-1][:400]
