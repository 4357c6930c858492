"""A teacher under timm: flags, plan, refusals, a run and its evidence."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from support.timm_evidence import Toy, build, found, train
from support.timm_train import TINY, write_images
from timm.task import DistillationTeacher, LogitDistillationTask

from tricks_plugin.plan import TrickError
from tricks_plugin.timm import flags
from tricks_plugin.timm.checks_names import check_names
from tricks_plugin.timm.plan import plan_tricks
from tricks_plugin.timm.train import main

pytestmark = pytest.mark.slow

NAME = 'test_resnet'


@pytest.fixture()
def weights(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / 'teacher.pth'
    torch.save({'state_dict': timm.create_model(NAME, num_classes=3).state_dict()}, path)
    return str(path)


def planned(*words):
    settings = flags.parse([*TINY, *words])
    return plan_tricks(settings.args, settings.given, flags.trick_wish(settings))


def test_the_plan_sets_timms_flags_and_names_the_cost(weights):
    args, plan, _ = planned('--tricks', 'distill', '--trick-options', f'distill.teacher={NAME}',
                            f'distill.checkpoint={weights}')
    row = plan['distill']
    assert row.status == 'applied' and row.promise == {}
    assert (args.kd_model_name, args.kd_checkpoint) == (NAME, weights)
    assert (args.kd_temperature, args.distill_loss_weight) == (20.0, 1.0)
    assert 'multiply-adds forward to the' in row.reason and '32 x 32 px' in row.reason


def test_without_a_teacher_it_means_nothing(weights):
    _, plan, _ = planned('--tricks', 'distill')
    assert plan['distill'].status == 'not_applicable'
    assert plan['distill'].reason.startswith('no teacher is named')


@pytest.mark.parametrize(('options', 'message'), [
    (('distill.teacher=test_resnt',), "distill.teacher must be a model that timm knows, got "),
    (('distill.teacher=resnet50', 'distill.checkpoint=no.pth'),
     "distill.checkpoint must be a file that is there, got 'no.pth'"),
    (('distill.teacher=resnet50',),
     'must name weights for 3 classes, as timm has distill.teacher resnet50 for 1000'),
])
def test_a_wrong_teacher_is_refused(options, message):
    with pytest.raises(TrickError, match=message):
        planned('--tricks', 'distill', '--trick-options', *options)


def test_weights_that_do_not_fit_are_refused_before_the_run(tmp_path, weights):
    held = torch.load(weights)['state_dict']
    held['fc.weight'], held['fc.bias'] = torch.zeros(2, 96), torch.zeros(2)
    two, damaged, named = tmp_path / 'two.pth', tmp_path / 'damaged.pth', f'distill.teacher={NAME}'
    torch.save(dict(state_dict=held), two)
    damaged.write_bytes(b'nothing')
    for teacher, file, message in (
            (named, two, rf'^distill.checkpoint .*two\.pth with distill\.teacher {NAME}: .*size '
             r'mismatch for \S+weight: .*\[2, \d+\]\) .*\[3, \d+\]\)'),
            (named, damaged, r'^distill.checkpoint .*damaged\.pth with'),
            ('distill.teacher=resnet18', weights, 'Missing key')):
        with pytest.raises(TrickError, match=message):
            planned('--tricks', 'distill', '--trick-options', teacher,
                    f'distill.checkpoint={file}')
    args, plan, _ = planned('--tricks', 'distill', '--trick-options', named,
                            f'distill.checkpoint={two}', '--num-classes', '2')
    assert plan['distill'].status == 'applied' and args.kd_checkpoint == str(two)


def test_the_flags_own_checkpoint_is_compared_before_the_run_too(weights):
    args = flags.parse([*TINY, '--kd-model-name', 'resnet18', '--kd-checkpoint', weights]).args
    with pytest.raises(TrickError, match='^--kd-checkpoint .* with --kd-model-name resnet18: .*'
                                         'Missing key'):
        check_names(args)


def test_a_kind_of_timms_that_is_left_out_is_refused():
    with pytest.raises(TrickError, match='--kd-distill-type must be one of logit, got'):
        flags.parse(['--kd-model-name', NAME, '--kd-distill-type', 'feature'])


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_images(folder / 'train', 4)
    write_images(folder / 'validation', 2)
    return folder


def test_a_training_is_live_and_its_checkpoint_holds_the_student_alone(tmp_path, data, weights):
    status = main([str(data), *TINY, '--epochs', '2', '--output', str(tmp_path), '--experiment',
                   'run', '--kd-model-name', NAME, '--kd-checkpoint', weights, '--model-ema',
                   '--distill-loss-weight', '0.5', '--mean', '0.4', '0.5', '0.6',
                   '--tricks', 'distill', '--trick-options', f'distill.teacher={NAME}',
                   f'distill.checkpoint={weights}', 'strict=True'])
    assert status == 0
    report = json.loads((tmp_path / 'run' / 'tricks_evidence.json').read_text())
    row = next(row for row in report['tricks'] if row['name'] == 'distill')
    assert row['live'] is True and 0 < row['values']['share'] < 1
    saved = torch.load(tmp_path / 'run' / 'last.pth.tar', weights_only=False)
    own = timm.create_model('resnet18', layers=(1, 1, 1, 1), channels=(8, 8, 8, 16), num_classes=3)
    assert list(saved['state_dict']) == list(own.state_dict())
    assert list(saved['state_dict_ema']) == list(own.state_dict())


def test_a_checkpoint_of_another_model_names_its_keys(tmp_path, data, weights):
    with pytest.raises(TrickError, match='--kd-checkpoint .* with --kd-model-name resnet18: .*'
                                         'Missing key'):
        main([str(data), *TINY, '--epochs', '1', '--output', str(tmp_path), '--kd-model-name',
              'resnet18', '--kd-checkpoint', weights])


def distilled(weight=1.0):
    """A run of the evidence's kit with a teacher."""
    run = build(kd_model_name='toy', kd_checkpoint=None)
    torch.manual_seed(5)
    student = run.model
    student.pretrained_cfg = dict(mean=(0.5,) * 3, std=(0.5,) * 3)
    teacher = DistillationTeacher(Toy().requires_grad_(False)).eval()
    run.task = LogitDistillationTask(student, teacher, criterion=run.task.criterion,
                                     distill_loss_weight=weight, temperature=2.0, verbose=False)
    return run


def test_the_task_is_measured_and_each_fault_is_found():
    run = distilled()
    finding = found(train(run, epochs=1), 'distill')
    assert finding.live is True and set(finding.values['losses']) == {'loss_distill'}
    run = distilled(weight=0.0)
    assert found(train(run, epochs=1), 'distill').live is False

    def move(number):
        if number == 2:
            run.task.teacher.model.fc.bias.add_(1e-3)
    run = distilled()
    finding = found(train(run, epochs=1, meddle=move), 'distill')
    assert finding.live is False and 'the teacher has moved: model.fc.bias' in finding.measured
    run = distilled()
    run.task.teacher.train()
    finding = found(train(run, epochs=1), 'distill')
    assert finding.live is False and 'not in evaluation mode' in finding.measured
    run = build(kd_model_name='toy')
    assert found(train(run, epochs=1), 'distill').measured == 'no teacher is at work'
