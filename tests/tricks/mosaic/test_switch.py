"""The switch and its measurement: in workers, in both loops, after a resume, and broken."""

from __future__ import annotations

import logging
import types

import pytest
from mmdet.engine.hooks import PipelineSwitchHook
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from tricks_plugin import MosaicOffHook, MosaicToScale
from tricks_plugin.evidence import Training
from tricks_plugin.mm.parts import parts
from tricks_plugin.mm.phases import switched_from
from tricks_plugin.tricks.mosaic.evidence import MosaicEvidence

WHOLE = (0.5, 0.5)  # the whole canvas in the window, so that no box is lost


def mosaic(**kwargs):
    return MosaicToScale(img_scale=(32, 24), **{'ratio_range': WHOLE, **kwargs})


def fake_runner(loader, epochs=None, iters=None, epoch=0, iteration=0, hooks=()):
    loop = object.__new__(EpochBasedTrainLoop if epochs else IterBasedTrainLoop)
    return types.SimpleNamespace(
        train_loop=loop, train_dataloader=loader, max_epochs=epochs or 1, max_iters=iters,
        epoch=epoch, iter=iteration, hooks=list(hooks), logger=logging.getLogger('mosaic-test'))


class Seen(Training):
    """What the evidence reads of a training."""

    epoch = iteration = begun_at = 0
    by_epoch = True
    max_epochs = max_iterations = 4
    epoch_length = 5
    hooks = ()

    def __init__(self, loader, **values):
        self._loaders = {'train': loader}
        for name, value in values.items():
            setattr(self, name, value)

    loaders = property(lambda self: self._loaders)

    def component(self, kind):
        return next((hook for hook in self.hooks if isinstance(hook, kind)), None)

    def replaced_from(self, kind):
        return switched_from(types.SimpleNamespace(
            hooks=self.hooks, train_dataloader=self._loaders['train']), kind)


Seen.__abstractmethods__ = frozenset()


def steps_of(dataset):
    return [part for part in parts(dataset) if isinstance(part, MosaicToScale)]


def images_of(batch):
    """How many images each sample shows, by its boxes."""
    return [len(sample['gt_bboxes']) for sample in batch]


def train(loader, epochs=4, first=0, sabotage=None, hooks=(), promise=None, **ends):
    """Epochs as mmengine's loop runs them: images per sample by epoch, and the findings."""
    ends = ends or dict(off_fraction=0.0)
    hook = MosaicOffHook(**ends)
    evidence = MosaicEvidence(**{**ends, **(promise or {})})
    runner = fake_runner(loader, epochs=epochs, epoch=first, hooks=hooks)
    training = Seen(loader, max_epochs=epochs, epoch=first, hooks=hooks)
    hook.before_train(runner)
    evidence.start(training)
    images, findings = [], []
    for runner.epoch in range(first, epochs):
        training.epoch = runner.epoch
        hook.before_train_epoch(runner)
        if sabotage and runner.epoch == sabotage[0]:
            sabotage[1](loader.dataset)
        seen = []
        for index, batch in enumerate(loader):
            evidence.before_iteration(training)
            seen += batch
            hook.after_train_iter(runner, index)
            evidence.after_iteration(training)
        images.append(seen)
        findings.append(evidence.finding(training))
    return images, findings


def turn(enabled):
    def sabotage(dataset):
        for step in steps_of(dataset):
            step.enabled = enabled
    return sabotage


def load(dataset, **kwargs):
    return DataLoader(dataset, batch_size=4, collate_fn=images_of, **kwargs)


@pytest.mark.slow
def test_mosaics_are_counted_and_end_with_the_clock(tiny):
    images, findings = train(load(tiny(mosaic())), off_fraction=0.25)
    assert images[0] == [1] * 4 + [4] * 16 and images[1:3] == [[4] * 20] * 2
    assert images[3] == [1] * 20
    assert [finding.live for finding in findings] == [True] * 4
    values = findings[3].values
    assert (values['samples'], values['mosaics'], values['filling']) == (60, 56, 4)
    assert (values['mosaics_after_switch'], values['passed_over_after_switch']) == (0, 20)
    assert 3 < values['images'] <= 4
    assert findings[3].planned == 'share 1, off from epoch 3'
    assert findings[3].measured.startswith('56 of 60 samples are mosaics of ')
    assert findings[3].measured.endswith(' different images, 0 of 20 after the switch')


@pytest.mark.slow
@pytest.mark.parametrize('wrap', [
    lambda one: RepeatDataset(one, times=1), lambda one: ConcatDataset([one])])
def test_it_reaches_through_wrappers(wrap, tiny):
    images, findings = train(load(wrap(tiny(mosaic()))), epochs=2, off_epochs=1)
    assert images[1] == [1] * 20 and findings[1].live is True


@pytest.mark.slow
def test_persistent_workers_obey_at_once_and_after_a_resume(tiny):
    loader = load(tiny(mosaic()), num_workers=2, persistent_workers=True)
    images, findings = train(loader, off_epochs=2)
    # Each worker makes every second batch: four plain samples, then mosaics.
    assert images[0] == [1] * 8 + [4] * 12 and images[1] == [4] * 20
    assert images[2:] == [[1] * 20] * 2
    assert findings[3].live is True and findings[3].values['filling'] == 8
    resumed, findings = train(loader, first=3, off_epochs=2)
    assert resumed == [[1] * 20] and findings[0].live is True
    _, findings = train(loader, off_epochs=2, sabotage=(3, turn(True)))
    assert [finding.live for finding in findings] == [True, True, True, False]
    assert 'mosaics after the switch' in findings[3].measured


def never(dataset):
    for step in steps_of(dataset):
        step.mosaic.prob = -1.0


def taken_out(dataset):
    """The pipeline without its last step, as an unplanned switch leaves it."""
    dataset.pipeline.transforms = dataset.pipeline.transforms[:-1]


@pytest.mark.slow
@pytest.mark.parametrize('sabotage, epochs, words', [
    (turn(False), 2, 'samples were passed over 20 times before the switch'),
    (never, 2, 'were drawn, against 1'),
    (taken_out, 14, 'no sample has come to it for '),
])
def test_what_breaks_after_a_good_start_is_dead(sabotage, epochs, words, tiny):
    _, findings = train(load(tiny(mosaic())), epochs=epochs, sabotage=(1, sabotage))
    assert findings[0].live is True and findings[-1].live is False
    assert words in findings[-1].measured


@pytest.mark.slow
def test_a_share_is_judged_as_far_as_chance_allows(tiny):
    loader = load(tiny(mosaic(prob=0.5)))
    _, findings = train(loader, epochs=10, promise=dict(prob=0.5))
    assert findings[-1].live is True
    _, findings = train(load(tiny(mosaic(prob=0.5))), epochs=10, promise=dict(prob=0.9))
    assert findings[-1].live is False and 'against 0.9' in findings[-1].measured


@pytest.mark.slow
def test_mosaics_of_one_image_and_workers_that_always_begin_are_dead(tiny, sample):
    dataset = tiny(mosaic())
    dataset.pipeline.transforms[0] = lambda results: sample(7)
    _, findings = train(load(dataset), epochs=2)
    assert findings[0].live is False
    assert 'all four parts of each are one image' in findings[0].measured
    # Two samples for each worker and epoch, from which no mosaic can be made.
    dataset = tiny(mosaic())
    evidence, training = MosaicEvidence(), Seen(load(dataset))
    evidence.start(training)
    for _ in range(26):
        dataset[0]
        steps_of(dataset)[0].mosaic.results_cache.clear()
        evidence.before_iteration(training)
        evidence.after_iteration(training)
    finding = evidence.finding(training)
    assert finding.live is False
    assert 'no worker has had 5 samples, which the first mosaic takes' in finding.measured


@pytest.mark.slow
@pytest.mark.parametrize('start, expected', [(0, [1] * 4 + [4] * 4 + [1] * 4), (8, [1] * 4),
                                             (6, [1] * 6)])
def test_an_iteration_based_training_switches_at_its_iteration(start, expected, tiny):
    dataset = tiny(mosaic())
    hook, evidence = MosaicOffHook(off_fraction=1 / 3), MosaicEvidence(off_fraction=1 / 3)
    loader = load(dataset)
    runner = fake_runner(loader, iters=12, iteration=start)
    training = Seen(loader, by_epoch=False, max_iterations=12, iteration=start, begun_at=start)
    hook.before_train(runner)
    evidence.start(training)
    hook.before_train_epoch(runner)
    seen = []
    for runner.iter in range(start, 12):
        training.iteration = runner.iter
        seen += images_of([dataset[runner.iter]])
        evidence.before_iteration(training)
        hook.after_train_iter(runner, 0)
        evidence.after_iteration(training)
    assert seen == expected
    finding = evidence.finding(training)
    assert finding.live is True and finding.planned == 'share 1, off from iteration 8'
    assert finding.values['passed_over_after_switch'] == 4


@pytest.mark.slow
def test_a_pipeline_switch_ends_it_first(tiny):
    switch = PipelineSwitchHook(switch_epoch=2, switch_pipeline=[dict(type='mmengine.Drawn')])
    dataset = tiny(mosaic())
    images, findings = train(
        load(dataset), epochs=12, hooks=[switch], promise=dict(replaced=True),
        sabotage=(2, taken_out))
    assert images[1] == [4] * 20 and images[2] == [1] * 20
    assert findings[-1].planned == 'share 1, off from epoch 2' and findings[-1].live is True


@pytest.mark.slow
def test_the_hook_says_what_the_caches_may_take(tiny, caplog):
    with caplog.at_level(logging.INFO):
        MosaicOffHook().before_train(fake_runner(
            load(tiny(MosaicToScale(img_scale=(1024, 512))), num_workers=2), epochs=3))
    # 2 workers, 40 samples of 1.5 MB each
    assert ('at most 80 samples over all worker processes of this rank, of at most 120 MB as '
            'uint8') in caplog.text
    with caplog.at_level(logging.WARNING):
        MosaicOffHook().before_train(fake_runner(load(tiny()), epochs=3))
    assert 'MosaicOffHook found no MosaicToScale in the training dataset (Tiny)' in caplog.text
