"""Advice that is followed brings what was said."""

from __future__ import annotations

import json

import pytest
from mmengine import fileio
from support.data_monitor import LOAD, build, messages

import tricks_plugin.registry  # noqa: F401
from tricks_plugin.common.waiting.monitor import FILE
from tricks_plugin.tricks.data_monitor.hook import DataBottleneckHook

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize('steps, better, advice, changed', [
    ([LOAD, dict(type='Fidget', seconds=0.1)], dict(workers=2, step=0.15),
     '2 workers in place of 1 (num_workers)', 'num_workers 1 -> 2'),
    ([dict(type='LoadImageFromFile', backend_args=dict(backend='sleeping'))], dict(),
     'the trick data_cache, level encoded (the files in memory or on a local disk): with 1 workers '
     'it leaves 0% waiting', '+ LoadImageFromFile(cached), - LoadImageFromFile(sleeping)')],
    ids=['workers', 'cache'])
def test_what_is_advised_brings_what_was_said(images, tmp_path, steps, better, advice, changed):
    # A worker makes two images in 200 ms for steps of 150 ms, or in 60 ms for steps of 40 ms.
    settings = dict(steps=steps, step=better.get('step', 0.04), workers=1, persistent_workers=True,
                    log_level='INFO')
    limits = dict(hook=DataBottleneckHook(0.1, interval=2, window=4, samples=4))
    runner = build(images, tmp_path, **settings, **limits, name='before')
    runner.train()
    assert advice in messages(runner)
    before = json.loads((tmp_path / FILE).read_text())
    assert before['share'] > 0.15
    if not better:
        cached = dict(backend='cached', inner=dict(backend='sleeping'),
                      folder=str(tmp_path / 'cache'))
        for path in images.iterdir():
            fileio.get(str(path), backend_args=cached)
        better = dict(steps=[dict(type='LoadImageFromFile', backend_args=cached)])
    runner = build(images, tmp_path, **{**settings, **better, **limits}, name='after')
    runner.train()
    after = json.loads((tmp_path / FILE).read_text())
    assert after['share'] < before['share']
    assert f'in the run before (changed since: {changed})' in messages(runner)
