"""The command again and again in one folder, with the plans and the reports of real ones.

Trainings alone are made up: a run's result is a number of its rung and seed.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_config import CONFIG
from support.timm_train import TINY, write_images

from tricks_plugin.ablate.identity import code_digest, versions
from tricks_plugin.ablate.launch import Handle, Local
from tricks_plugin.cli.ablate import main
from tricks_plugin.plan.errors import TrickError

PAIRS = ['plain 0', 'a 0', 'plain 1', 'a 1']


class Done(Handle):
    """A program that has done its work when it is started."""

    def status(self) -> int | None:
        return 0

    def stop(self) -> None:
        pass


class Folder:
    """An ablation's folder: what is run there, and what lies there."""

    def __init__(self, out: Path, libraries: tuple[str, ...], words: Callable[..., list[str]],
                 other: str) -> None:
        self.out, self._words, self.other = out, words, other
        self._versions = versions(*libraries)
        self._calls: list[str] = []

    def start(self, launcher: Local, command: list[str], log: Path, slot: int) -> Handle:
        """Stands in for `Local.start`."""
        spec = json.loads(Path(command[3]).read_text())
        folder = Path(spec['folder'])
        assert Path(spec['config']).is_file()
        if 'rung' not in spec:  # the throughput of inference
            (folder / 'speed.json').write_text(json.dumps({
                'settings': spec['settings'], 'images_per_s': 40.0, 'parameters': 12, 'batch': 2,
                'words': 'here', 'machine': 'here'}))
            self._calls.append('speed')
            return Done()
        self._calls.append(f'{spec["rung"]} {spec["seed"]}')
        value = (len(self._calls) * 7 % 5 + 50) / 100
        (folder / 'result.json').write_text(json.dumps({
            'metric': spec['metric'], 'value': value, 'seconds': 3.0, 'memory_mb': 9.0,
            'curve': [{'epoch': 1, 'iteration': 5, 'seconds': 3.0, 'value': value}],
            'parameters': 12, 'weights': 'w', 'order': 'o', 'settings': spec['settings'],
            'code': code_digest(), 'versions': self._versions, 'machine': 'here',
            'checks': [{'trick': name, 'live': True, 'text': ''} for name in spec['planned']]}))
        return Done()

    def ablate(self, tricks: list[str], *words: str) -> list[str]:
        """Runs the command; returns the runs that it has made."""
        self._calls.clear()
        assert main(self._words(tricks, ['--out', str(self.out), *words])) == 0
        return list(self._calls)

    def report_only(self, *words: str) -> list[str]:
        """Only the tables; the plan and the results stay as they are, to the byte."""
        before = self.kept()
        assert self.ablate([], '--report-only', *words) == []
        assert self.kept() == before
        found = json.loads((self.out / 'ablation.json').read_text())['study']
        assert [run['status'] for run in found['runs']] == ['finished'] * len(found['runs'])
        return [f'{run["rung"]} {run["seed"]}' for run in found['runs']]

    def kept(self) -> dict[str, bytes]:
        """What no report may change: all but the tables."""
        return {str(path): path.read_bytes() for path in sorted(self.out.rglob('*.json'))
                if path.name not in ('study.json', 'ablation.json')}


@pytest.fixture(params=['mm', 'timm'])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
           ) -> Folder:
    """A folder for a config of mmdet, and one for a model of timm."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setattr('tricks_plugin.ablate.engine._POLL', 0.0)
    words: Callable[..., list[str]]
    if request.param == 'mm':
        pytest.importorskip('mmdet')
        from tricks_plugin.ablate.mm_run import LIBRARIES
        config = tmp_path / 'x.py'
        config.write_text(CONFIG)

        def words(tricks: list[str], more: list[str]) -> list[str]:
            return [str(config), *tricks, *more]
    else:
        from tricks_plugin.ablate.timm_run import LIBRARIES
        for split in ('train', 'val'):
            write_images(tmp_path / 'images' / split, 2)

        def words(tricks: list[str], more: list[str]) -> list[str]:
            return ['timm', *tricks, *more, '--', str(tmp_path / 'images'), *TINY, '--epochs', '4',
                    '--lr', '0.1']
    found = Folder(tmp_path / 'out', LIBRARIES, words,
                   {'mm': 'cosine_warmup', 'timm': 'mixup'}[request.param])
    monkeypatch.setattr(Local, 'start', functools.partialmethod(_start, found))
    return found


def _start(launcher: Local, found: Folder, command: list[str], log: Path, slot: int) -> Any:
    assert command[0] == sys.executable
    return found.start(launcher, command, log, slot)


@pytest.mark.slow
def test_the_same_command_more_seeds_and_one_more_arm(without_figures, folder):
    two = ['--arms', 'a=ema', 'b=ema,sync_bn']  # b trains the very same as a in one process
    assert folder.ablate(two, '--seeds', '2') == [*PAIRS, 'speed']
    planned = (folder.out / 'plan.json').read_bytes()
    assert folder.ablate(two, '--seeds', '2') == []
    runs = folder.report_only()
    assert sorted(runs) == sorted([*PAIRS, 'b 0', 'b 1']) and folder.report_only() == runs
    assert (folder.out / 'plan.json').read_bytes() == planned
    assert folder.ablate(two, '--seeds', '3') == ['plain 2', 'a 2']
    three = [*two, f'c=ema,{folder.other}']
    assert folder.ablate(three, '--seeds', '3') == ['c 0', 'c 1', 'c 2']
    assert len(folder.report_only()) == 4 * 3 == len(folder.report_only())
    assert folder.ablate(three, '--seeds', '2') == []  # and the third seed stays
    assert len(folder.report_only()) == 4 * 3
    before = folder.kept()
    with pytest.raises(TrickError, match='holds another ablation .*rung c of .* is not asked for'):
        folder.ablate(two, '--seeds', '3')
    assert folder.kept() == before


@pytest.mark.slow
def test_a_stack_says_at_once_and_in_the_report_which_trick_has_no_rung(folder, capsys):
    tricks = ['--tricks', 'ema,no_bias_decay,sync_bn', '--seeds', '1']
    assert folder.ablate(tricks) == ['plain 0', 'ema 0', 'speed']
    shown, _, rest = capsys.readouterr().out.partition('2 runs to do')
    report = (folder.out / 'ablation.md').read_text() + (folder.out / 'report.html').read_text()
    for text in ('no_bias_decay changes nothing here (present: ', 'sync_bn changes nothing here ('):
        assert text in shown and report.count(text) == 2 and text not in rest
