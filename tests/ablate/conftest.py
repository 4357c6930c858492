"""An ablation whose trainings cost nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_ablation import CODE, planner

from tricks_plugin.ablate import identity
from tricks_plugin.cli.ablate import main

TESTS = Path(__file__).resolve().parents[1]


class Toy:
    """A folder, and the command that works there."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.out, self.calls_file, self._patch = folder / 'out', folder / 'calls.txt', patch

    def ablate(self, wish: dict[str, Any], *words: str) -> int:
        """Runs the command on rungs with wishes; returns its status."""
        self._patch.setitem(sys.modules, 'tricks_plugin.ablate.setup',
                            planner(wish, self.calls_file))
        self._patch.setattr(identity, 'code_digest',
                            lambda: wish.get('all', {}).get('code', CODE))
        return main(['x.py', '--seeds', '2', '--out', str(self.out), *words])

    def calls(self) -> list[str]:
        """The runs since the last look, as ``RUNG SEED``."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.is_file() else []
        self.calls_file.unlink(missing_ok=True)
        return [' '.join(line.split()[:2]) for line in lines]

    def place(self, rung: str, seed: int) -> Path:
        """A run's folder."""
        return self.out / 'runs' / 'toy' / rung / f'seed{seed}'

    def study(self) -> dict[str, Any]:
        """What the command left."""
        return json.loads((self.out / 'study.json').read_text())

    def states(self) -> dict[str, str]:
        """The state of every run."""
        return {f"{run['rung']} {run['seed']}": run['status'] for run in self.study()['runs']}


@pytest.fixture()
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their one slow file, the page."""
    monkeypatch.setattr('tricks_plugin.ablate.report.html.html', lambda analysis: '')


@pytest.fixture()
def toy(without_figures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """See `Toy`."""
    monkeypatch.setenv('PYTHONPATH', f'{TESTS.parent}:{TESTS}')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setattr('tricks_plugin.ablate.engine._POLL', 0.02)
    return Toy(tmp_path, monkeypatch)


@pytest.fixture()
def wish_file(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes wishes for an ablation in a process of its own."""
    def write(wish: dict[str, Any]) -> Path:
        path = tmp_path / 'wish.json'
        path.write_text(json.dumps(wish))
        return path
    return write
