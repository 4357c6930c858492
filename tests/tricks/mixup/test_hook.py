"""Switching mixup off: when, where it reaches, and after a resume."""

from __future__ import annotations

import copy
import logging
import types

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.engine.hooks import PipelineSwitchHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from tricks_plugin import GeometryPreservingMixUp, MixUpOffHook
from tricks_plugin.common.phases import phases
from tricks_plugin.tricks.mixup.hook import mixup_transforms


class Numbers(Dataset):
    """Samples of one box whose pixels are their number, through a mixup transform."""

    def __init__(self, length=16):
        self.length = length
        self.pipeline = types.SimpleNamespace(transforms=[str, GeometryPreservingMixUp()])

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        return dict(img=np.full((4, 6, 3), number, np.uint8), img_id=number,
                    gt_bboxes=np.array([[0, 0, 3, 3]], np.float32),
                    gt_bboxes_labels=np.array([number]), gt_ignore_flags=np.array([False]))


def fake_runner(dataset, epochs=None, iters=None, epoch=0, iteration=0, hooks=()):
    loop = object.__new__(EpochBasedTrainLoop if epochs else IterBasedTrainLoop)
    loader = DataLoader(dataset, batch_size=2)
    return types.SimpleNamespace(
        train_loop=loop, train_dataloader=loader, max_epochs=epochs or 1,
        max_iters=iters or epochs * 8, epoch=epoch, iter=iteration, hooks=list(hooks),
        logger=logging.getLogger('mixup-test'))


def enabled_by_epoch(epochs, **kwargs):
    dataset, hook = Numbers(), MixUpOffHook(**kwargs)
    states = []
    runner = fake_runner(dataset, epochs)
    hook.before_train(runner)
    for runner.epoch in range(epochs):
        hook.before_train_epoch(runner)
        states.append(int(dataset.pipeline.transforms[1].enabled))
    return states


@pytest.mark.parametrize('epochs, kwargs, on', [
    (200, {}, 180),                       # the paper's 20 of 200
    (25, {}, 22),                         # 2.5 rounds half up, to 3
    (24, {}, 22),                         # 2.4 rounds to 2
    (4, {}, 3),                           # 0.4 would be none: at least one
    (1, {}, 1),                           # never all of them
    (12, dict(off_fraction=0), 12),
    (12, dict(off_fraction=0.3), 8),      # 3.6 rounds to 4
    (12, dict(off_epochs=5), 7),
    (12, dict(off_epochs=0), 12),
    (3, dict(off_epochs=9), 1),
])
def test_the_last_epochs_are_without_mixup(epochs, kwargs, on):
    assert enabled_by_epoch(epochs, **kwargs) == [1] * on + [0] * (epochs - on)


@pytest.mark.parametrize('epoch, on', [(0, True), (8, True), (9, False)])
def test_a_resumed_run_is_as_the_uninterrupted_one_would_be(epoch, on):
    dataset = Numbers()
    MixUpOffHook().before_train(fake_runner(dataset, epochs=10, epoch=epoch))
    assert dataset.pipeline.transforms[1].enabled == on


@pytest.mark.parametrize('kwargs, first_off', [({}, 27), (dict(off_epochs=2), 14)])
def test_an_iteration_based_run_counts_iterations(kwargs, first_off):
    dataset, hook = Numbers(), MixUpOffHook(**kwargs)
    runner = fake_runner(dataset, iters=30)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    on = []
    for runner.iter in range(30):
        on.append(dataset.pipeline.transforms[1].enabled)  # as the loop asks for the batch here
        hook.after_train_iter(runner, runner.iter)
    assert on == [True] * first_off + [False] * (30 - first_off)
    for iteration in (first_off - 1, first_off):
        hook.before_train(fake_runner(dataset, iters=30, iteration=iteration))
        assert dataset.pipeline.transforms[1].enabled == (iteration < first_off)


def test_it_reaches_through_wrappers_lists_and_nested_transforms(caplog):
    one, two = Numbers(), Numbers()
    inner = GeometryPreservingMixUp()
    two.pipeline = [types.SimpleNamespace(transforms=[[inner]]), one.pipeline.transforms[1]]
    wrapped = types.SimpleNamespace(dataset=ConcatDataset([one, two]))
    wrapped.pipeline = types.SimpleNamespace(transforms=[wrapped])  # refers to itself
    assert set(map(id, mixup_transforms(wrapped))) == {id(inner), id(one.pipeline.transforms[1])}
    with caplog.at_level(logging.INFO):
        MixUpOffHook().before_train(fake_runner(wrapped, epochs=10, epoch=9))
    assert not inner.enabled and not one.pipeline.transforms[1].enabled
    assert 'controls 2 mixup transform(s): off from epoch 9 of 10' in caplog.text


def test_a_dataset_without_mixup_is_a_warning_and_too_long_an_end_too(caplog):
    MixUpOffHook().before_train(fake_runner(ConcatDataset([[1]]), epochs=10))
    assert 'found no GeometryPreservingMixUp in the training dataset (ConcatData' in caplog.text
    MixUpOffHook(off_epochs=7).before_train(fake_runner(Numbers(), epochs=3))
    assert '7 epochs without mixup were asked for, of 3 in all' in caplog.text


def test_counts_of_all_processes_are_logged_as_they_double_and_at_the_end(caplog):
    dataset, hook = Numbers(), MixUpOffHook()
    runner = fake_runner(dataset, epochs=10)
    shared = dataset.pipeline.transforms[1].shared
    hook.before_train(runner)
    for failures in range(6):
        hook.after_train_iter(runner, failures)
        shared.count('failed_partners')
    shared.count('dropped_proposals')
    hook.after_train_epoch(runner)
    hook.after_train_epoch(runner)
    lines = [record.getMessage() for record in caplog.records]
    assert [int(line.split()[1]) for line in lines if 'failed to load' in line] == [1, 2, 4, 6]
    assert sum("1 samples' stored proposals were dropped" in line for line in lines) == 1


def test_the_caches_bound_is_told_at_the_start_and_their_memory_with_the_first_batch(caplog):
    datasets = [Numbers(), Numbers()]
    runner, hook = fake_runner(ConcatDataset(datasets), epochs=10), MixUpOffHook()
    with caplog.at_level(logging.INFO):
        hook.before_train(runner)
        assert 'keep at most 128 samples, and at most 1024 MB' in caplog.text  # 2 transforms x 64
        datasets[1].pipeline.transforms[1].shared.raise_to('sample_bytes', 3 * 2**20)
        hook.before_train_iter(runner, 0)
        assert 'so far takes 3.00 MB: 128 of them, all that the caches keep, 384 MB' in caplog.text
        datasets[1].pipeline.transforms[1].shared.raise_to('sample_bytes', 2**30)
        hook.before_train_iter(runner, 1)
        assert caplog.text.count('so far takes') == 1


def test_a_pipeline_that_a_hook_puts_in_is_switched_and_counted_too(caplog):
    dataset, hook = Numbers(), MixUpOffHook()
    runner = fake_runner(dataset, epochs=10)
    hook.before_train(runner)
    late = GeometryPreservingMixUp()
    dataset.pipeline = types.SimpleNamespace(transforms=[late])
    runner.epoch = 9
    hook.before_train_epoch(runner)
    assert not late.enabled
    late.shared.count('failed_partners')
    hook.after_train_epoch(runner)
    assert 'mixup: 1 partners failed to load' in caplog.text


@pytest.mark.parametrize('workers, total, fraction, flip, clean', [
    (0, 30, 0.1, 27, 27),
    (2, 30, 0.1, 23, 27),   # 2 workers x 2 batches ahead
    (2, 30, 0.0, 30, 30),   # never off: nothing to turn early
    (2, 4, 0.5, 1, 5),      # the switch lies within the first batches made ahead
])
def test_with_workers_the_switch_is_turned_as_many_batches_ahead_as_they_work(
        workers, total, fraction, flip, clean):
    times = phases(False, total, fraction, ahead=2 * workers)
    assert (times.flip_from, times.clean_from) == (flip, clean)


@pytest.mark.parametrize('switch, off', [(2, 2), (9, 9), (10, 9), (0, 0)])
def test_a_pipeline_switch_before_it_is_the_end_of_mixup(switch, off, caplog):
    hook = PipelineSwitchHook(switch, [dict(type='PackDetInputs')])
    with caplog.at_level(logging.INFO):
        MixUpOffHook().before_train(fake_runner(Numbers(), epochs=10, hooks=[hook]))
    assert f'off from epoch {off} of 10' in caplog.text


def test_a_pipeline_switch_that_does_not_reach_the_mixing_ends_nothing(caplog):
    hook = PipelineSwitchHook(2, [dict(type='PackDetInputs')])
    with caplog.at_level(logging.INFO):  # it sets an attribute of the wrapper, which none reads
        MixUpOffHook().before_train(fake_runner(ConcatDataset([Numbers()]), 10, hooks=[hook]))
    assert 'off from epoch 9 of 10' in caplog.text


class Closed(Dataset):
    """A wrapper of a user's own, which holds its dataset under a name of its own."""

    def __init__(self, within):
        self.within = within

    def __len__(self):
        return len(self.within)

    def __getitem__(self, number):
        return self.within[number]


def test_a_wrapper_of_one_s_own_is_looked_into_and_one_that_hides_its_inside_is_named(caplog):
    numbers = Numbers()
    assert mixup_transforms(Closed(numbers)) == [numbers.pipeline.transforms[1]]
    MixUpOffHook().before_train(fake_runner(Closed(range(4)), epochs=10))
    assert 'it switches nothing; no pipeline can be seen in Closed' in caplog.text


@pytest.mark.parametrize('wrong, words', [
    (dict(off_fraction=1.0), r'off_fraction must be in \[0, 1\), got 1.0'),
    (dict(off_fraction=-0.1), 'got -0.1'), (dict(off_epochs=-1), 'off_epochs must be >= 0, got -1'),
])
def test_wrong_arguments_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        MixUpOffHook(**wrong)


@pytest.mark.parametrize('workers, context', [(0, None), (2, 'fork')])
def test_a_flip_reaches_persistent_workers_at_the_next_epoch(workers, context):
    samples = [Numbers()[number] for number in range(16)]
    transform = GeometryPreservingMixUp()
    more = dict(persistent_workers=True, multiprocessing_context=context) if workers else {}
    loader = DataLoader(samples, batch_size=None, num_workers=workers,
                        collate_fn=Compose([copy.deepcopy, transform]), **more)
    counts = []
    for epoch in range(3):
        transform.enabled = epoch != 1
        counts.append(sum(bool(results['gt_mixup_weights'][0] != 1) for results in loader))
    first = max(workers, 1)  # its dataset is not known: each worker's first has no partner
    assert counts == [16 - first, 0, 16 - first]
