"""The hook on real detectors: what it adds, what it leaves alone, and how a run resumes."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.config import ConfigDict  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.hooks import EMAHook, Hook  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from support.distill import attached  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from tricks_plugin.mm.evidence_hook import TrickEvidenceHook  # noqa: E402
from tricks_plugin.plan import TrickError  # noqa: E402
from tricks_plugin.tricks.distill.adapters import Adapters, _adapter  # noqa: E402
from tricks_plugin.tricks.distill.hook import DistillationHook  # noqa: E402
from tricks_plugin.tricks.distill.inputs import TeacherInputs  # noqa: E402

pytestmark = pytest.mark.slow


class Images(Dataset):
    """Four images of 64 px with a box each."""

    metainfo = {'classes': ('a', 'b')}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        sample = DetDataSample(metainfo=dict(
            img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0),
            img_id=index))
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[8.0, 8.0, 40.0, 48.0]]),
                                           labels=torch.tensor([index % 2]))
        image = torch.randint(256, (3, 64, 64), generator=generator).byte()
        return dict(inputs=image, data_samples=sample)


class Losses(Hook):
    """Keeps what each step returned."""

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append({key: value.item() for key, value in outputs.items()})


def train(folder, yolov3, hooks, epochs=2, resume=False, accumulate=1, stop=None):
    """Trains the student for some epochs of two iterations; ``stop`` ends the run earlier."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    runner = Runner(
        model=copy.deepcopy(yolov3), work_dir=str(folder), resume=resume, default_scope='mmdet',
        train_dataloader=DataLoader(Images(), batch_size=2, collate_fn=pseudo_collate),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            type='tricks_plugin.BFloat16OptimWrapper' if accumulate > 1 else 'OptimWrapper',
            accumulative_counts=accumulate,
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9)), randomness=dict(seed=0),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=hooks, log_level='ERROR',
        experiment_name=f'{folder.parent.name}{folder.name}{stop}{resume}')
    if stop is not None:
        runner.register_hook(Stop(stop), priority='LOWEST')
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return runner


class Stop(Hook):
    """Ends a run as a user would."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def student_of(yolov3):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(copy.deepcopy(yolov3)))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # else the features of an untrained model fade in evaluation mode
        model.train().extract_feat(torch.randn(4, 3, 64, 64))
    return model


def batch(model):
    data = pseudo_collate([Images()[0], Images()[1]])
    return model.data_preprocessor(data, True)


def test_each_level_adds_its_weighted_loss_and_nothing_else_changes(yolov3, teacher):
    path, weights = teacher()
    model = student_of(yolov3).eval()  # fixed statistics: both forward passes give the same
    keys, data = list(model.state_dict()), batch(model)
    plain = model(**data, mode='loss')
    levels = [one.detach().numpy() for one in model.neck(model.backbone(data['inputs']))]
    hook = DistillationHook(path, weights, weight=5.0)
    attached(model, hook)
    held = hook.distillation.teacher
    theirs = held.neck(held.backbone(data['inputs']))
    losses = model(**data, mode='loss')
    for index, (mine, other) in enumerate(zip(levels, theirs, strict=True)):
        other = other.numpy()
        rows = [1 - np.corrcoef(mine[:, c].ravel(), other[:, c].ravel())[0, 1]
                for c in range(mine.shape[1])]
        assert losses.pop(f'loss_distill_{index}').item() == pytest.approx(
            5 * np.mean(rows), abs=1e-3)
    assert losses.keys() == plain.keys()
    for name, values in plain.items():
        torch.testing.assert_close(losses[name], values)
    assert list(model.state_dict()) == keys and not held.training
    assert not any(one.requires_grad for one in held.parameters())
    hook.after_train(None)
    assert 'loss' not in vars(model) and model(**data, mode='loss').keys() == plain.keys()


def test_the_gradient_goes_into_the_student_and_its_adapters_alone(yolov3, teacher):
    path, weights = teacher((48, 32, 16))
    model = student_of(yolov3)
    hook = DistillationHook(path, weights)
    attached(model, hook)
    losses = model(**batch(model), mode='loss')
    sum(value for name, value in losses.items() if 'distill' in name).backward()
    adapters = [one for one in hook._adapters._modules.values() if one is not None]
    assert hook._adapters.count == len(adapters) == 2
    assert all(float(one.weight.grad.abs().max()) > 0 for one in adapters)
    assert float(model.backbone.conv1.conv.weight.grad.abs().max()) > 0
    assert set(hook.distillation.gradients) == {f'loss_distill_{index}' for index in range(3)}
    assert all(float(one) > 0 for one in hook.distillation.gradients.values())
    assert all(one.grad is None for one in hook.distillation.teacher.parameters())
    assert model.bbox_head.convs_pred[0].weight.grad is None  # it is no part of the features
    assert not {id(one) for one in model.parameters()} & {
        id(one) for module in adapters for one in module.parameters()}


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_run_is_live_resumes_exactly_and_ends_without_the_teacher(
    tmp_path, yolov3, teacher, accumulate,
):
    path, weights = teacher((48, 32, 16))

    def hooks():
        rows = Losses()
        evidence = TrickEvidenceHook([dict(name='distill', promise=dict(off_epochs=1))],
                                     strict=True)
        return [DistillationHook(path, weights, off_epochs=1), rows, evidence,
                EMAHook(momentum=0.1)], rows

    made, rows = hooks()
    whole = train(tmp_path / 'whole', yolov3, made, epochs=3, accumulate=accumulate)
    taught = [any('distill' in name for name in row) for row in rows.rows]
    assert taught == [True] * 4 + [False] * 2
    saved = torch.load(tmp_path / 'whole' / 'epoch_2.pth', weights_only=False)
    assert list(saved['state_dict']) == list(student_of(yolov3).state_dict())
    assert sorted(saved['distillation']['adapters']) == [0, 2]
    # The adapters have learned: two epochs of one or two updates.
    assert not torch.equal(saved['distillation']['adapters'][0]['weight'],
                           _adapter(0, 32, 48).weight)
    average = made[3].ema_model.module
    assert list(average.state_dict()) == list(saved['state_dict']) and 'loss' not in vars(average)
    if accumulate > 1:
        return
    made, _ = hooks()
    train(tmp_path / 'parts', yolov3, made, epochs=3, stop=1)
    made, _ = hooks()
    parts = train(tmp_path / 'parts', yolov3, made, epochs=3, resume=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=0, atol=0)


def test_other_shapes_are_refused_in_the_run(yolov3, teacher):
    path, weights = teacher()
    model = student_of(yolov3)
    hook = DistillationHook(path, weights)
    attached(model, hook)
    neck = hook.distillation.teacher.neck
    neck.register_forward_hook(lambda module, args, output: output[:2])
    with pytest.raises(TrickError, match='must have the 3 levels of the student, got 2'):
        model(**batch(model), mode='loss')
    neck.register_forward_hook(lambda module, args, output: [*output, output[0]])
    with pytest.raises(TrickError, match=r'the strides of the student, got a map of .* in level 2'):
        model(**batch(model), mode='loss')


def test_a_teacher_of_another_normalisation_gets_its_own_pixels():
    from mmdet.models import DetDataPreprocessor
    image = torch.randint(256, (3, 40, 56), generator=torch.Generator().manual_seed(0)).byte()

    def inputs(**options):
        preprocessor = DetDataPreprocessor(pad_size_divisor=32, **options)
        sample = DetDataSample(metainfo=dict(img_shape=(40, 56)))
        data = preprocessor(dict(inputs=[image.clone()], data_samples=[sample]), True)
        return preprocessor, data

    mine, data = inputs(mean=[90.0, 100.0, 110.0], std=[60.0, 50.0, 40.0], bgr_to_rgb=True)
    his, wanted = inputs(mean=[1.0, 2.0, 3.0], std=[2.0, 3.0, 4.0], pad_value=7)
    turn = TeacherInputs(mine, his)
    assert not turn.same
    # float32 of values up to 255 / 2
    torch.testing.assert_close(turn(data['inputs'], data['data_samples']), wanted['inputs'],
                               rtol=1e-5, atol=1e-4)
    assert TeacherInputs(mine, mine)(data['inputs'], None) is data['inputs']
    # A classifier's images fill their tensor, whatever an earlier step has left as img_shape.
    small = [DetDataSample(metainfo=dict(img_shape=(8, 8)))]
    found = TeacherInputs(mine, his, padded=False)(data['inputs'], small)[..., :40, :56]
    torch.testing.assert_close(found, wanted['inputs'][..., :40, :56], rtol=1e-5, atol=1e-4)


class Scaled(OptimWrapper):
    """Scales losses as mmengine's AmpOptimWrapper does, which refuses the CPU."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.0)

    def backward(self, loss):
        self.loss_scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self):
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


@pytest.mark.parametrize('kind', [OptimWrapper, Scaled])
def test_adapters_follow_the_students_rate_and_those_of_another_run_are_refused(kind):
    if kind is Scaled and not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('this torch scales losses on GPUs only')
    student = torch.nn.Linear(2, 2)
    wrapper = kind(torch.optim.SGD([
        dict(params=[student.weight], lr=0.5), dict(params=[student.bias], lr=0.125)], lr=1.0))
    adapters = Adapters(wrapper)
    feature = torch.ones(1, 2, 1, 1)
    assert adapters(0, feature, 2) is feature
    out = adapters(1, feature, 3)
    adapters.begin()
    before = adapters._modules[1].bias.detach().clone()
    wrapper.update_params(out.sum() + student(torch.ones(2)).sum())
    # The gradient of each bias is 1: one step of the largest LR.
    torch.testing.assert_close(adapters._modules[1].bias.detach(), before - 0.5)
    adapters.remove()
    assert 'backward' not in vars(wrapper)
    other = Adapters(wrapper, dict(adapters={}, optimizer={}))
    with pytest.raises(TrickError, match="^resume: the checkpoint's adapters of distillation"):
        other(0, feature, 3)
