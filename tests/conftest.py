"""Fixtures shared by the tests."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import types
import weakref
from pathlib import Path

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '2')
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _threads():
    """A test that sets the number of torch's threads sets it for itself."""
    import torch
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _evidence_stays_whole(request, monkeypatch):
    """A run outlives an evidence that fails; a test does not, unless it is marked for it."""
    from tricks_plugin.evidence import Monitor
    plain, detach, broken = Monitor._ask, Monitor._detach, {}

    def ask(self, name, method):
        answer = plain(self, name, method)
        broken.update(self._broken)
        return answer

    def close(self, name):
        done = detach(self, name)
        if not done:
            broken[name] = 'close'
        return done

    monkeypatch.setattr(Monitor, '_ask', ask)
    monkeypatch.setattr(Monitor, '_detach', close)
    yield
    assert not broken or request.node.get_closest_marker('broken_evidence'), broken


@pytest.fixture(autouse=True)
def _short_breaks(monkeypatch):
    """mmengine's iteration-based loop sleeps for two seconds between epochs; a tenth does here."""
    loops = sys.modules.get('mmengine.runner.loops')
    if loops is not None:
        monkeypatch.setattr(loops, 'time', types.SimpleNamespace(
            sleep=lambda seconds: time.sleep(seconds / 20)))


@pytest.fixture(autouse=True)
def _workers_end(monkeypatch):
    """Workers that a test leaves are sent away while their queues are there.

    Those of a loader that outlives the test too: it starts others when it is asked again. Where a
    runner's cycle is collected later on, the queues go first, and torch waits five seconds
    for each worker before it kills it.
    """
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as Iterator
    plain, started = Iterator.__init__, []

    def begin(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        started.append(weakref.ref(self))

    monkeypatch.setattr(Iterator, '__init__', begin)
    yield
    for one in started:
        if (iterator := one()) is not None:
            iterator._shutdown_workers()


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def python_env() -> dict[str, str]:
    """The environment for commands run from the repository; the plugin on the path."""
    path = os.pathsep.join(filter(None, [
        str(ROOT), str(ROOT / 'tests'), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', 'COLUMNS': '120'}


@pytest.fixture(scope='session')
def zoo() -> Path:
    """The installed mmdet's configs."""
    import mmdet
    return Path(mmdet.__file__).parent / '.mim' / 'configs'


@pytest.fixture()
def toy():
    """A registered toy trick that doubles `number` in the config, and is gone after the test."""
    from tricks_plugin.tricks import TRICKS, Params, Trick, Verdict, bounded

    @dataclasses.dataclass(frozen=True)
    class ToyParams(Params):
        factor: float = bounded(2.0, 'what to multiply by', gt=0, le=10)
        mode: str = bounded('plain', 'how', choices=('plain', 'fancy'))
        count: int | None = bounded(None, 'how many', ge=1)

    class Toy(Trick):
        name, title, paper, order = 'toy', 'multiplies', 'none', 1
        Params = ToyParams
        evidence = f'{__name__}:NoEvidence'

        def apply(self, cfg):
            if 'number' not in cfg:
                return Verdict.not_applicable('the config has no number')
            if cfg.get('multiplied'):
                return Verdict.present('the number is multiplied already')
            cfg['number'] = cfg['number'] * self.params.factor
            cfg['multiplied'] = True
            return Verdict.applied(wanted=cfg['number'])

    TRICKS.register(Toy)
    yield Toy
    TRICKS.unregister('toy')


def _format_once() -> None:
    """Has yapf format a text once: mmengine formats a config five times in a short training."""
    try:
        from yapf.yapflib import yapf_api
    except ImportError:
        return
    plain, known = yapf_api.FormatCode, {}

    def format_code(text: str, **style):
        key = (text, repr(style))
        if key not in known:
            known[key] = plain(text, **style)
        return known[key]

    yapf_api.FormatCode = format_code


def pytest_configure(config: pytest.Config) -> None:
    """Hides GPUs from tests that do not ask for one: mmengine would train on it unasked."""
    _format_once()
    wish = config.getoption('markexpr', '')
    if 'cuda' not in wish or 'not cuda' in wish:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''


def no_gpu() -> str:
    """Why tests marked ``cuda`` cannot run here; empty if they can."""
    import torch
    if torch.cuda.is_available():
        return ''
    if os.environ.get('CUDA_VISIBLE_DEVICES') == '':
        return 'GPUs are hidden from tests that do not need one: make test-cuda'
    return 'no GPU: torch.cuda.is_available() is False'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none."""
    reason = no_gpu()
    for item in items:
        if reason and item.get_closest_marker('cuda'):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header() -> list[str]:
    """Names the stack that the tests run on."""
    import importlib.metadata as metadata
    names = ('torch', 'onedl-mmengine', 'onedl-mmdetection', 'onedl-mmcv', 'mmengine', 'mmdet',
             'mmcv', 'timm', 'numpy')
    found = []
    for name in names:
        try:
            found.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            continue
    import torch
    gpu = f'{no_gpu()}; tests marked cuda are skipped' if no_gpu() else \
        f'GPU: {torch.cuda.get_device_name()}'
    return [f'python {sys.version.split()[0]}; {", ".join(found)}', gpu]
