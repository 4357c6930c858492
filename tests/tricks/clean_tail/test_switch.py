"""The switch: through wrappers, in persistent workers, in both loops, after a resume."""

from __future__ import annotations

import logging
import pickle
import types

import numpy as np
import pytest
from mmdet.datasets import ConcatDataset, MultiImageMixDataset
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from tricks_plugin import ClosingHook, Switched, YOLOXLossHook
from tricks_plugin.common.phases import phases
from tricks_plugin.evidence import Training
from tricks_plugin.mm.parts import parts
from tricks_plugin.tricks.clean_tail.evidence import CleanTailEvidence


class Brighten:
    """Adds 1 to the image: shows in every sample."""

    def __call__(self, results):
        return {**results, 'img': results['img'] + 1}


class Blend:
    """Needs a partner, and counts how often it is asked for one."""

    def __init__(self):
        self.asked = 0

    def get_indexes(self, dataset):
        self.asked += 1
        return 5

    def __call__(self, results):
        return {**results, 'img': results['img'] + results['mix_results'][0]['img']}


def multi(tiny, *steps):
    """A MultiImageMixDataset around the tiny one, with steps that are built."""
    dataset = MultiImageMixDataset(dataset=tiny(), pipeline=[])
    dataset.pipeline, dataset.pipeline_types = list(steps), ['Switched'] * len(steps)
    return dataset


def level(sample):
    return int(sample['img'][0, 0, 0])


def test_a_step_with_partners_asks_for_none_while_it_is_off(tiny):
    blend = Blend()
    switch = Switched(blend)
    dataset = multi(tiny, switch, Switched(Brighten()))
    assert level(dataset[2]) == 20 + 50 + 1 and blend.asked == 1
    switch.enabled = False
    assert level(dataset[2]) == 21 and blend.asked == 1
    assert not hasattr(switch, 'get_indexes') and not hasattr(Switched(Brighten()), 'get_indexes')
    assert (switch.shared.total('applied'), switch.shared.total('skipped')) == (1, 1)
    assert 'mix_results' not in dataset[2]


def test_stand_ins_act_only_while_the_step_is_off():
    switch = Switched(Brighten(), instead=[Brighten(), Brighten()])
    sample = dict(img=np.zeros((1, 1, 3), np.uint8))
    assert level(switch(sample)) == 1
    switch.enabled = False
    assert level(switch(sample)) == 2
    again = pickle.loads(pickle.dumps(switch))
    assert level(again(sample)) == 2


def fake_runner(dataset, loader=None, epochs=None, iters=None, epoch=0, iteration=0):
    loop = object.__new__(EpochBasedTrainLoop if epochs else IterBasedTrainLoop)
    return types.SimpleNamespace(
        train_loop=loop, train_dataloader=loader or DataLoader(dataset, batch_size=2),
        max_epochs=epochs or 1, max_iters=iters, epoch=epoch, iter=iteration, hooks=[],
        logger=logging.getLogger('closing-test'))


class Seen(Training):
    """What the evidence reads of a training."""

    epoch = iteration = begun_at = 0
    by_epoch = True
    max_epochs = max_iterations = 4
    epoch_length = 3

    def __init__(self, loader, **values):
        self._loaders = {'train': loader}
        for name, value in values.items():
            setattr(self, name, value)

    loaders = property(lambda self: self._loaders)


Seen.__abstractmethods__ = frozenset()


def train(loader, epochs=4, first=0, sabotage=None, **kwargs):
    """Epochs as mmengine's loop runs them; the levels by epoch, and what the evidence found."""
    hook, evidence = ClosingHook(**kwargs), CleanTailEvidence(**kwargs)
    runner = fake_runner(loader.dataset, loader, epochs=epochs, epoch=first)
    training = Seen(loader, max_epochs=epochs, epoch=first, begun_at=3 * first)
    hook.before_train(runner)
    evidence.start(training)
    levels, findings = [], []
    for runner.epoch in range(first, epochs):
        training.epoch = runner.epoch
        hook.before_train_epoch(runner)
        if sabotage and runner.epoch == sabotage[0]:
            for part in parts(loader.dataset):
                if isinstance(part, Switched):
                    part.enabled = sabotage[1]
        seen = []
        for index, batch in enumerate(loader):
            evidence.before_iteration(training)
            seen += batch
            hook.after_train_iter(runner, index)
            evidence.after_iteration(training)
        levels.append(seen)
        findings.append(evidence.finding(training))
    return levels, findings


def levels_of(batch):
    return [level(sample) % 10 for sample in batch]


@pytest.mark.slow
@pytest.mark.parametrize('wrap', [
    lambda one: RepeatDataset(one, times=1), lambda one: ConcatDataset([one]),
    lambda one: ClassBalancedDataset(one, oversample_thr=1e-3)])
def test_it_reaches_through_wrappers(wrap, tiny):
    loader = DataLoader(wrap(multi_registered(tiny)), batch_size=2, collate_fn=levels_of)
    levels, findings = train(loader, off_fraction=0.25)
    assert levels == [[1] * 6] * 3 + [[0] * 6]
    assert [finding.live for finding in findings] == [True] * 4
    assert findings[3].values['applied'] == 18
    assert findings[3].values['applied_after_switch'] == 0
    assert findings[3].values['passed_over_after_switch'] == 6
    assert findings[3].planned == 'off from epoch 3'


def multi_registered(tiny):
    """The tiny dataset with one switched step, as wrappers of mmengine take it."""
    return tiny(Switched(Brighten()))


def test_persistent_workers_obey_at_once_and_after_a_resume(tiny):
    dataset = multi(tiny, Switched(Blend()), Switched(Brighten()))
    loader = DataLoader(dataset, batch_size=2, collate_fn=levels_of, num_workers=2,
                        persistent_workers=True)
    levels, findings = train(loader, off_epochs=2)
    assert levels == [[1] * 6] * 2 + [[0] * 6] * 2
    assert findings[3].live is True and findings[3].values['applied_after_switch'] == 0
    resumed, findings = train(loader, first=3, off_epochs=2)
    assert resumed == [[0] * 6] and findings[0].live is True
    # The same workers, and the switch turned back on in the clean part: dead.
    levels, findings = train(loader, off_epochs=2, sabotage=(3, True))
    assert levels[2:] == [[0] * 6, [1] * 6]
    assert [finding.live for finding in findings] == [True, True, True, False]
    assert 'images are still augmented after the switch' in findings[3].measured


def test_a_switch_that_is_turned_too_early_is_dead(tiny):
    loader = DataLoader(multi_registered(tiny), batch_size=2, collate_fn=levels_of)
    _, findings = train(loader, off_epochs=1, sabotage=(1, False))
    assert findings[0].live is True and findings[1].live is False
    assert 'passed over 6 times before the switch' in findings[1].measured


def test_a_tail_whose_steps_nobody_meets_is_dead(tiny):
    dataset = multi_registered(tiny)
    loader = DataLoader(dataset, batch_size=2)
    evidence = CleanTailEvidence(off_epochs=2)
    training = Seen(loader)
    evidence.start(training)
    for training.epoch in (0, 1):
        dataset[0]
        evidence.before_iteration(training)
        evidence.after_iteration(training)
    training.epoch = 2
    for _ in range(21):  # another hook has replaced the pipeline
        evidence.before_iteration(training)
        evidence.after_iteration(training)
    assert evidence.finding(training).live is False


@pytest.mark.slow
@pytest.mark.parametrize('start, expected', [(0, [1] * 6 + [0] * 4), (8, [0] * 2), (4, [1, 1] + [
    0] * 4)])
def test_an_iteration_based_training_switches_at_its_iteration(start, expected, tiny):
    dataset = multi_registered(tiny)
    hook, evidence = ClosingHook(off_fraction=0.4), CleanTailEvidence(off_fraction=0.4)
    loader = DataLoader(dataset, batch_size=1)
    runner = fake_runner(dataset, loader, iters=10, iteration=start)
    training = Seen(loader, by_epoch=False, max_iterations=10, iteration=start, begun_at=start)
    hook.before_train(runner)
    evidence.start(training)
    hook.before_train_epoch(runner)
    seen = []
    for runner.iter in range(start, 10):
        training.iteration = runner.iter
        seen.append(level(dataset[0]))
        evidence.before_iteration(training)
        hook.after_train_iter(runner, 0)
        evidence.after_iteration(training)
    assert seen == expected
    finding = evidence.finding(training)
    assert finding.live is True and finding.planned == 'off from iteration 6'
    assert finding.values['applied_after_switch'] == 0
    assert finding.values['passed_over_after_switch'] == min(4, 10 - start)


def test_a_run_of_one_epoch_keeps_its_augmentation_and_a_short_one_has_a_tail(tiny, caplog):
    loader = DataLoader(multi_registered(tiny), batch_size=2, collate_fn=levels_of)
    assert train(loader, epochs=1)[0] == [[1] * 6]
    assert train(loader, epochs=2)[0] == [[1] * 6, [0] * 6]
    with caplog.at_level(logging.WARNING):
        assert train(loader, epochs=2, off_epochs=5)[0] == [[1] * 6, [0] * 6]
    assert '5 epochs without strong augmentation were asked for, of 2 in all' in caplog.text


def test_a_hook_without_a_switch_says_so(tiny, caplog):
    with caplog.at_level(logging.WARNING):
        ClosingHook().before_train(fake_runner(tiny(), epochs=3))
    assert 'ClosingHook found no Switched in the training dataset (Tiny)' in caplog.text


@pytest.mark.parametrize('total, fraction, off_from', [
    (1, 0.1, 1), (2, 0.1, 1), (3, 0.9, 1), (14, 0.1, 13), (15, 0.1, 13), (40, 0.1, 36),
    (300, 1 / 15, 280)])
def test_fractions_leave_a_tail_and_never_take_all(total, fraction, off_from):
    times = phases(True, total, fraction)
    assert times.off_from == off_from
    assert [times.on(epoch) for epoch in range(total)] == [
        epoch < off_from for epoch in range(total)]


def own_switch(loader, epoch, hook, sabotage=None):
    """Four epochs under a PipelineSwitchHook of mmdet's, due at `epoch`; what is found of it."""
    evidence = CleanTailEvidence(own_from=epoch, own_steps=['Drawn'])
    training = Seen(loader)
    runner = fake_runner(loader.dataset, loader, epochs=4)
    evidence.start(training)
    findings = []
    for runner.epoch in range(4):
        training.epoch = runner.epoch
        hook.before_train_epoch(runner)
        if sabotage is not None and runner.epoch == epoch:
            sabotage(loader)
        for _ in loader:
            evidence.before_iteration(training)
            evidence.after_iteration(training)
        findings.append(evidence.finding(training))
    return [finding.live for finding in findings], findings[-1].measured


@pytest.mark.slow
def test_a_hook_of_the_configs_own_is_measured(tiny):
    from mmdet.engine.hooks import PipelineSwitchHook
    other = [lambda sample: sample]

    def run(sabotage=None, workers=0):
        loader = DataLoader(tiny(), batch_size=2, num_workers=workers, collate_fn=len,
                            persistent_workers=workers > 0)
        return own_switch(loader, 2, PipelineSwitchHook(2, other), sabotage)

    old = tiny().pipeline
    assert run() == ([None, None, True, True], 'no Drawn in the pipeline since then')
    assert run(workers=1)[0] == [None, None, True, True]
    live, words = run(lambda loader: setattr(loader.dataset, 'pipeline', old))
    assert live == [None, None, False, False] and words == 'Drawn still in the pipeline'

    def keeps_its_workers(loader):
        loader._iterator, loader._DataLoader__initialized = kept[0], True

    kept = []
    loader = DataLoader(tiny(), batch_size=2, num_workers=1, collate_fn=len,
                        persistent_workers=True)
    list(loader)
    kept.append(loader._iterator)
    live, words = own_switch(loader, 2, PipelineSwitchHook(2, other), keeps_its_workers)
    assert live[2] is False and 'the workers that began before it go on' in words


def test_steps_that_a_dataset_skips_by_type_are_no_longer_live(tiny):
    dataset = multi(tiny, Brighten(), Blend())
    dataset.pipeline_types = ['Brighten', 'Blend']
    loader = DataLoader(dataset, batch_size=2, collate_fn=len)
    evidence = CleanTailEvidence(own_from=0, own_steps=['Blend'])
    training = Seen(loader)
    evidence.start(training)
    evidence.before_iteration(training)
    assert evidence.finding(training).live is False
    dataset.update_skip_type_keys(['Blend'])
    evidence = CleanTailEvidence(own_from=0, own_steps=['Blend'])
    evidence.start(training)
    evidence.before_iteration(training)
    assert evidence.finding(training).live is True and evidence.switched(training)


def test_a_pipeline_that_a_hook_puts_in_is_switched_and_counted_too(tiny):
    loader = DataLoader(multi_registered(tiny), batch_size=2, collate_fn=levels_of)
    other = multi_registered(tiny).pipeline

    hook, evidence = ClosingHook(off_epochs=1), CleanTailEvidence(off_epochs=1)
    runner, training = fake_runner(loader.dataset, loader, epochs=4), Seen(loader)
    hook.before_train(runner)
    evidence.start(training)
    levels = []
    for runner.epoch in range(4):
        training.epoch = runner.epoch
        if runner.epoch == 2:  # as a PipelineSwitchHook does, before the tail
            loader.dataset.pipeline = other
        hook.before_train_epoch(runner)
        for index, batch in enumerate(loader):
            evidence.before_iteration(training)
            levels += batch
            hook.after_train_iter(runner, index)
            evidence.after_iteration(training)
    assert levels == [1] * 18 + [0] * 6
    finding = evidence.finding(training)
    assert finding.live is True
    assert finding.values['applied'] == 18 and finding.values['passed_over_after_switch'] == 6


def test_the_l1_loss_comes_on_when_mmdets_hook_would_turn_it_on():
    head = types.SimpleNamespace(use_l1=False)
    runner = types.SimpleNamespace(model=types.SimpleNamespace(bbox_head=head), max_epochs=10,
                                   logger=logging.getLogger('closing-test'))
    hook = YOLOXLossHook(num_last_epochs=3)
    on = []
    for runner.epoch in range(10):
        hook.before_train_epoch(runner)
        on.append(head.use_l1)
    assert on == [False] * 6 + [True] * 4  # mmdet's: (epoch + 1) >= max_epochs - num_last_epochs

    runner.model = types.SimpleNamespace(bbox_head=object())  # a head without that loss
    hook.before_train_epoch(runner)
    runner.model = types.SimpleNamespace()
    hook.before_train_epoch(runner)
