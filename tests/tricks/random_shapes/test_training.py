"""Real trainings of seconds: shapes as they arrive, resumed, and broken on purpose."""

from __future__ import annotations

import types

import pytest

pytest.importorskip('mmdet')

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner

import tricks_plugin
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.random_shapes.batch_augment import BatchRandomShapes
from tricks_plugin.tricks.random_shapes.evidence import RandomShapesEvidence

pytestmark = pytest.mark.slow


class Watch(Hook):
    """Notes the shapes that the backbone gets, and runs the evidence as the run does."""

    priority = 'LOWEST'

    def __init__(self, evidence):
        self.evidence = evidence
        self.sides = []
        self.finding = None

    def before_train(self, runner):
        backbone = runner.model.backbone
        backbone.register_forward_pre_hook(lambda _, args: self.sides.append(args[0].shape[-1]))
        self.training = RunnerTraining(runner)
        self.training.watch()
        self.evidence.start(self.training)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        del self.sides[runner.iter - self.training.begun_at:]  # of a trial before the first one
        self.training.begin(data_batch)
        self.evidence.before_iteration(self.training)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.training.end(outputs)
        self.evidence.after_iteration(self.training)

    def after_train(self, runner):
        self.finding = self.evidence.finding(self.training)
        self.evidence.close()
        self.training.release()


def train(cfg, tamper=None, **params):
    """Trains; ``tamper(runner)`` breaks something after the plan was made. Returns the watch."""
    torch.set_num_threads(1)
    cfg, plan = tricks_plugin.apply_tricks(Config(cfg), tricks=dict(random_shapes=params))
    promise = next(row for row in plan.tricks if row.name == 'random_shapes')
    assert promise.status == 'applied' and cfg.env_cfg.cudnn_benchmark is False
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Evidence' not in hook['type']]
    cfg.pop('runner_type', None)
    cfg.experiment_name = f'shapes-{id(cfg)}'
    runner = (FlexibleRunner if cfg.get('strategy') else Runner).from_cfg(cfg)
    watch = Watch(RandomShapesEvidence(**promise.promise))
    runner.register_hook(watch)
    if tamper:
        tamper(runner)
    runner.train()
    return watch


def test_a_training_has_random_shapes_the_largest_first(train_config):
    train_config['randomness'] = dict(seed=0)
    watch = train(train_config, interval=2)
    # The last of three epochs, of four iterations each, is at the config's own scale.
    assert watch.sides == [160, 160, 128, 128, 160, 160, 128, 128] + [128] * 4
    values = watch.finding.values
    assert watch.finding.live is True and watch.finding.planned == (
        '3 sizes, 96 to 160 px, every 2 iterations, 0.5 of the draws at 128 px, off from epoch 2')
    assert values['iterations'] == 12 and values['distinct_shapes'] == 2
    assert values['largest_first'] is True and values['not_multiples'] == 0
    assert sum(values['shapes'].values()) == 12
    assert watch.finding.measured == (
        '2 shapes in 12 iterations, 128x128 to 160x160 (h x w); batches of equal shape arrived in '
        'up to 2 shapes; largest first; 2 of 3 draws at the test scale; 4 batches in the tail')


def test_images_of_unlike_aspect_arrive_as_planned(train_config):
    # of 72 x 96 to 96 x 72 px: fitted into 160, the base, whatever the batch is padded to
    resize = train_config['train_dataloader']['dataset']['pipeline'][2]
    resize['keep_ratio'] = True
    train_config['train_cfg']['max_epochs'] = 6
    watch = train(train_config, interval=1)
    assert watch.finding.live is True and watch.finding.values['tail_not_at_test_scale'] == 0
    assert max(watch.sides[:4]) == 160 and set(watch.sides) <= {64, 96, 128, 160}


@pytest.mark.parametrize('strategy', [None, dict(type='SingleDeviceStrategy')])
def test_a_resumed_run_draws_the_shapes_of_the_uninterrupted_one(train_config, strategy):
    # no seed is configured: the one that the first run drew must come back
    if strategy:
        train_config['strategy'] = strategy
    train_config['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    whole = train(dict(train_config), interval=3)
    train_config['resume'] = True
    train_config['load_from'] = f'{train_config["work_dir"]}/epoch_1.pth'
    resumed = train(train_config, interval=3)
    assert len(whole.sides) == 12 and resumed.sides == whole.sides[4:]
    assert resumed.finding.values['largest_first'] is None


def test_an_iteration_based_run_counts_its_iterations(train_config):
    train_config['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=5)
    train_config['train_dataloader']['sampler'] = dict(type='InfiniteSampler')
    watch = train(train_config, sizes=[64, 128], interval=4)
    assert watch.sides[:4] == [128] * 4 and len(watch.sides) == 5


def augment_of(model):
    return next(module for module in model.modules() if isinstance(module, BatchRandomShapes))


def stuck(model):
    module = augment_of(model)
    module.size, module.set_iteration = 96, lambda *moment: None


def no_augment(model):
    model.data_preprocessor.batch_augments = None


@pytest.mark.parametrize('tamper, epochs, measured', [
    (stuck, 4, '4 batches of the tail are not at the test scale'),
    (no_augment, 1, '4 batches did not pass BatchRandomShapes')])
def test_a_training_with_a_silently_broken_part_is_seen(train_config, tamper, epochs, measured):
    train_config['train_cfg']['max_epochs'] = epochs
    watch = train(train_config, lambda runner: tamper(runner.model), interval=1)
    assert watch.finding.live is False and measured in watch.finding.measured


class Toy(torch.nn.Module):
    """A model of a batch augment and a backbone, which takes any shape."""

    def __init__(self):
        super().__init__()
        self.augment = BatchRandomShapes(base=128, sizes=[64, 96, 128], interval=2, share=0)
        self.backbone = torch.nn.Identity()

    def train_step(self, images):
        self.backbone(self.augment(images, None)[0])


def drive(tamper, iterations, start=0, later=None):
    """The evidence's finding on a toy run whose batches are 128 x 192 and 128 x 128 in turn."""
    model = Toy()
    training = types.SimpleNamespace(model=model, iteration=start, by_epoch=False,
                                     max_iterations=1000, epoch_length=1)
    evidence = RandomShapesEvidence(sizes=[64, 96, 128], divisor=32, interval=2, base=128)
    if tamper:
        tamper(model)
    evidence.start(training)
    for training.iteration in range(start, start + iterations):
        if training.iteration == later:
            never_resizes(model)
        model.augment.set_iteration(training.iteration, 5)
        evidence.before_iteration(training)
        model.train_step(torch.rand(1, 3, 128, 192 if training.iteration % 2 else 128))
        evidence.after_iteration(training)
        model.backbone(torch.rand(1, 3, 50, 50))  # validation between iterations is not counted
    found = evidence.finding(training)
    evidence.close()
    assert not model.backbone._forward_pre_hooks and not model.augment._forward_pre_hooks
    return found


def test_batches_of_unlike_shapes_are_told_apart():
    found = drive(None, 24)
    assert found.live is True
    assert found.values['shapes_of_equal_batches'] == 3 and found.values['redraws'] == 22
    assert found.values['distinct_shapes'] == 6  # 64, 96, 128 by 96, 160 (144), 192; and squares


def never_resizes(model):
    model.augment.forward = lambda images, samples: (images, samples)


def another_divisor(model):
    model.augment.divisor, model.augment.sizes = 16, [80, 128]


def restless(model):
    model.augment.set_iteration = lambda iteration, *rest: setattr(
        model.augment, 'size', 64 + 32 * (iteration % 3))
    model.train_step = lambda images: model.backbone(model.augment(images[..., :128], None)[0])


def smallest_first(model):
    model.augment.set_iteration = lambda iteration, *rest: setattr(
        model.augment, 'size', 64 if iteration < 2 else 128)


@pytest.mark.parametrize('tamper, measured', [
    (never_resizes, 'up to 1 shapes; largest first; the shape changes no more'),
    (another_divisor, 'batches are no multiple of 32'),
    (restless, '14 changes of shape within an interval'),
    (smallest_first, '26 batches larger than in the first interval'),
])
def test_a_silently_broken_part_is_seen_by_the_evidence(tamper, measured):
    found = drive(tamper, 28)  # 14 draws, of which 13 can repeat: 1/3 to the 13th
    assert found.live is False and measured in found.measured


def test_shapes_that_change_no_more_after_a_good_start_are_seen():
    assert drive(None, 60).live is True
    found = drive(None, 60, later=30)
    assert found.live is False and 'the shape changes no more' in found.measured


def test_a_shape_that_rounding_gives_at_every_size_says_nothing():
    evidence = RandomShapesEvidence(sizes=[576, 608], divisor=32, interval=1, base=608)
    for step in range(60):  # 310 * 576 / 608 = 293.7, which is padded to 320 as well
        evidence._note(step, (310, 310), (320, 320))
    assert evidence.finding(None).live is None
    for step in range(60, 82):
        evidence._note(step, (608, 608), (608, 608))
    assert evidence.finding(None).live is False


def drive_home(iterations, share=0.5, tail=lambda iteration: iteration >= 90, share_run=None,
               sizes=(64, 96, 128), home=96, ends=True):
    """The finding on batches fitted into 128 x 128, half of the draws at 96, the last 10 too."""
    augment = BatchRandomShapes(base=128, sizes=sizes, interval=1, home=home, side='long',
                                share=share if share_run is None else share_run)
    model = torch.nn.Module()
    model.augment, model.backbone = augment, torch.nn.Identity()
    training = types.SimpleNamespace(model=model, by_epoch=False, max_iterations=100,
                                     epoch_length=10, iteration=0)
    evidence = RandomShapesEvidence(
        sizes=list(sizes), divisor=32, interval=1, base=128, home=home, share=share, side='long',
        off_fraction=0.1)
    evidence.start(training)
    for training.iteration in range(iterations):
        augment.set_iteration(training.iteration, 5, tail(training.iteration), ends)
        evidence.before_iteration(training)
        model.backbone(augment(torch.rand(1, 3, 96, 128), None)[0])
        evidence.after_iteration(training)
    found = evidence.finding(training)
    evidence.close()
    return found


def test_half_of_the_draws_and_the_tail_are_at_the_test_scale():
    found = drive_home(100)
    assert found.live is True
    assert found.planned == ('3 sizes, 64 to 128 px, every batch, 0.5 of the draws at 96 px, off '
                             'from iteration 90')
    # 96 x 128 becomes 48 x 64, 72 x 96 and itself, padded to multiples
    assert set(found.values['shapes']) == {'64x64', '96x96', '96x128'}
    assert found.values['draws_told'] == 89 and found.values['tail_batches'] == 10
    assert 30 < found.values['draws_at_test_scale'] < 60


@pytest.mark.parametrize('run, words', [
    (dict(tail=lambda iteration: False), 'batches of the tail are not at the test scale'),
    (dict(tail=lambda iteration: iteration >= 60), 'the shape changes no more'),
    (dict(share_run=0.95), 'draws at the test scale'),
    (dict(share_run=0.01), 'draws at the test scale'),
])
def test_a_broken_share_and_a_broken_tail_are_seen(run, words):
    found = drive_home(100, **run)
    assert found.live is False and words in found.measured.split('; ', 3)[-1]


def test_a_tail_larger_than_the_first_interval_is_seen():
    found = drive_home(100, sizes=(64, 96), home=128)
    assert found.live is True and 'largest first' in found.measured
    assert found.values['tail_not_at_test_scale'] == 0
    found = drive_home(100, sizes=(64, 96), home=128, ends=False)
    assert found.live is False
    assert '10 batches larger than in the first interval' in found.measured


def test_one_interval_and_no_batch_at_all_leave_the_verdict_open():
    assert drive(None, 2).live is None and drive(None, 0).live is None
    assert drive(None, 0).measured == 'no batch seen'


class OneSize(torch.nn.Module):
    """A backbone with a map of positions, in front of another one."""

    def __init__(self, inner, side):
        super().__init__()
        self.inner = inner
        self.positions = torch.nn.Parameter(torch.zeros(3, side, side))

    def forward(self, images):
        return self.inner(images + self.positions)


def test_a_model_of_one_size_ends_before_the_first_iteration(train_config):
    def fix(runner):
        runner.model.backbone = OneSize(runner.model.backbone, 128)

    with pytest.raises(TrickError, match=r'^tricks.random_shapes: YOLOV3 with OneSize takes images '
                       r'of \(128, 128\) \(h, w\) px and not of \(64, 64\): RuntimeError: The'):
        train(train_config, fix, ratio_range=(0.5, 1.0))
