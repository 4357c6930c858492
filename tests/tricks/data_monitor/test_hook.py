"""The hook in small trainings with made-up bottlenecks, which it has to name."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from support.data_monitor import LOAD, SLOW, Noting, build, messages

import tricks_plugin
from tricks_plugin.common.waiting.monitor import FILE
from tricks_plugin.tricks.data_monitor.evidence import DataMonitorEvidence
from tricks_plugin.tricks.data_monitor.hook import DataBottleneckHook

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('steps, cause', [
    ([dict(type='LoadImageFromFile', backend_args=dict(backend='sleeping'))], 'reading the files'),
    ([dict(type='LoadHugeImage')], 'decoding the images'),
    ([LOAD, dict(type='Fidget')], 'the transform Fidget')],
    ids=['storage', 'decoding', 'transform'])
@pytest.mark.parametrize('workers', [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bottleneck_is_named(images, tmp_path, steps, cause, workers):
    runner = build(images, tmp_path, steps, workers=workers)
    runner.train()
    text = messages(runner)
    assert text.count('Waiting for data takes') == 1
    assert f'To blame: {cause}' in text
    saved = json.loads((tmp_path / FILE).read_text())
    assert saved['sample']['samples'] == 3 and saved['share'] > 0.5
    assert saved['settings']['pipeline'][-1] == 'PackPixels'
    hub = runner.message_hub.get_scalar('train/data_wait')
    assert hub.data[0].size == 12 and 0 <= hub.data[0].min() <= hub.data[0].max() < 1
    # LoggerHook writes at the tenth iteration of each epoch, to every backend; this is mmengine's.
    scalars, = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [row['data_wait'] for row in logged] == [hub.data[0][4], hub.data[0][10]]


def test_a_run_without_a_bottleneck_is_left_in_peace(images, tmp_path):
    backends = [dict(type='LocalVisBackend'), dict(type='Noting')]
    runner = build(images, tmp_path, [LOAD], step=SLOW,
                   visualizer=dict(type='Visualizer', name='monitored', vis_backends=backends))
    Noting.noted.clear()
    runner.train()
    # Every backend gets the scalar, at the tenth iteration of each epoch.
    shares = runner.message_hub.get_scalar('train/data_wait').data[0]
    assert [scalars['data_wait'] for scalars in Noting.noted if 'data_wait' in scalars] == \
        [shares[4], shares[10]]
    assert 'Waiting for data' not in messages(runner)
    saved = json.loads((tmp_path / FILE).read_text())
    assert saved['share'] < 0.5 and 'sample' not in saved


def test_an_iteration_based_training_whose_loader_ends_hears_of_it(images, tmp_path, monkeypatch):
    slept = []

    def sleep(seconds, real=time.sleep):
        slept.append(seconds)
        real(min(seconds, 0.3))

    monkeypatch.setattr('mmengine.runner.loops.time.sleep', sleep)
    runner = build(images, tmp_path, [LOAD], step=0.001,
                   hook=DataBottleneckHook(0.5, interval=6, window=12, samples=2))
    runner._train_loop = IterBasedTrainLoop(runner, runner._train_dataloader, max_iters=30)
    runner.train()
    assert slept.count(2) == 2  # 24 images in batches of two
    text = messages(runner)
    assert 'To blame: the end of the loader, which was begun anew 1 times' in text
    assert "What would help: sampler=dict(type='InfiniteSampler')" in text


def test_the_draws_of_the_training_are_those_of_one_without_a_monitor(images, tmp_path):
    class Draws(BaseTransform):
        def transform(self, results):
            drawn.append((results['img_path'], np.random.rand(), float(torch.rand(()))))
            return results

    def train(name, hook):
        runner = build(images, tmp_path / name, [LOAD, dict(type='Fidget', seconds=0.002)],
                       hook=hook)
        loader = runner.build_dataloader(runner.train_dataloader)
        loader.dataset.pipeline.transforms.insert(0, Draws())
        runner._train_dataloader = loader
        runner.set_randomness(seed=7)
        drawn.clear()
        runner.train()
        return list(drawn)

    drawn: list = []
    with_monitor = train('with', DataBottleneckHook(0.01, interval=2, window=4, samples=2))
    assert 'sample' in json.loads((tmp_path / 'with' / FILE).read_text())
    assert len(with_monitor) == 48
    assert with_monitor == train('without', dict(type='IterTimerHook'))


def test_a_dataset_that_fails_in_the_measurement_does_not_stop_the_run(images, tmp_path):
    class Fails(BaseTransform):
        def transform(self, results):
            time.sleep(SLOW)
            if torch.utils.data.get_worker_info() is not None:
                raise OSError('no such\nfile in a worker')
            return results

    runner = build(images, tmp_path, [LOAD])
    loader = runner.build_dataloader(runner.train_dataloader)
    loader.dataset.pipeline.transforms.insert(1, Fails())
    runner._train_dataloader = loader
    runner.train()
    assert 'What is to blame could not be measured' in messages(runner)


def test_the_edit_adds_the_hook_once():
    cfg = Config(dict(
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))
    effective, plan = tricks_plugin.apply_tricks(cfg, {'data_monitor': {'threshold': 0.2}})
    assert plan['data_monitor'].status == 'applied'
    assert effective.custom_hooks[0] == dict(
        type='tricks_plugin.DataBottleneckHook', threshold=0.2, interval=10, window=100, samples=16)
    again, second = tricks_plugin.apply_tricks(effective, 'data_monitor')
    assert second['data_monitor'].status == 'present'
    assert second['data_monitor'].reason == 'custom_hooks[0] is DataBottleneckHook'
    assert again.to_dict() == effective.to_dict()
    without, plan = tricks_plugin.apply_tricks(Config(dict(model={})), 'data_monitor')
    assert plan['data_monitor'].reason == 'the config does not train'


def test_timm_is_told_who_does_it():
    from tricks_plugin.plan import TRICKS
    trick = TRICKS.get('data_monitor').from_dict({})
    assert trick.timm_args({}) == {} and trick.timm_promise({}) == {}
    assert trick.timm_note({}, {}).startswith('tools/timm_train.py does so in every run')


@pytest.mark.parametrize('wrong', [dict(samples=0), dict(threshold=1.0), dict(interval=0)])
def test_a_hook_that_could_not_measure_is_refused(wrong):
    with pytest.raises(ValueError, match='must be'):
        DataBottleneckHook(**wrong)


class Stand:
    """As much of a training as the measurement reads."""

    def __init__(self, hook):
        self.hook = hook

    def component(self, kind):
        return next((part for part in vars(self.hook or self).values() if isinstance(part, kind)),
                    None)

    def measure(self, iterations):
        evidence = DataMonitorEvidence()
        for _ in range(iterations):
            evidence.after_iteration(self)
        return evidence.finding(self)


def test_the_evidence_says_no_where_the_monitor_is_missing_or_stops(images, tmp_path):
    assert Stand(None).measure(3).live is False
    assert Stand(DataBottleneckHook()).measure(3).live is False
    runner = build(images, tmp_path, [LOAD])
    runner.train()
    hook = next(one for one in runner.hooks if isinstance(one, DataBottleneckHook))
    assert Stand(hook).measure(24).live is True
    assert Stand(hook).measure(0).live is None
    found = Stand(hook).measure(25)
    assert found.live is False and 'known for 24 of 25 iterations' in found.measured
