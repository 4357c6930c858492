"""What the processes of the sync_bn tests run, and the one process that they are compared with."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

# Batch size per process (a run of two takes the first two) and shape (C, ...) of each case; in
# float64, where sums in other orders agree, but for the cases that are about a coarser type.
CASES = {
    'flat, middle one empty': dict(parts=(5, 0, 4), shape=(3,)),
    '1d': dict(parts=(1, 2, 1), shape=(4, 7)),
    '2d, unequal': dict(parts=(2, 5, 1), shape=(3, 5, 4)),
    '2d, first one empty': dict(parts=(0, 3, 2), shape=(3, 4, 6)),
    '2d, channels last': dict(parts=(2, 1, 3), shape=(5, 4, 6), channels_last=True),
    '3d': dict(parts=(1, 2, 2), shape=(2, 3, 4, 2)),
    'cumulative average': dict(parts=(3, 2, 2), shape=(3, 4, 4), momentum=None),
    'no weight': dict(parts=(3, 2, 1), shape=(3, 4, 4), affine=False),
    'no running statistics': dict(parts=(3, 2, 1), shape=(3, 4, 4), track_running_stats=False),
    # 32, 32 and 64 values in quarters: float32 holds their sums and means exactly
    'mean far from 0': dict(parts=(2, 2, 4), shape=(3, 4, 4), mean=3000.0, dtype=torch.float32),
    'float32': dict(parts=(2, 3, 1), shape=(3, 5, 5), dtype=torch.float32),
    'bfloat16 input under autocast': dict(parts=(2, 3, 1), shape=(3, 8, 8),
                                          dtype=torch.bfloat16),
}
STEPS = 3
NORMS = ('BatchNorm2d', 'BatchNormAct2d')  # torch's, timm's
SHAPES_DIFFER = [(2, 3, 6, 4), (1, 3, 8, 5), (2, 3, 3, 3)]
_OPTIONS = ('momentum', 'affine', 'track_running_stats')


def layer(case, kind):
    """A layer of a class, with weights that are the same in every process."""
    options = {name: case[name] for name in _OPTIONS if name in case}
    built = kind(case['shape'][0], eps=1e-4, **options)
    if built.affine:
        with torch.no_grad():
            built.weight.copy_(torch.linspace(0.5, -1.7, case['shape'][0]))
            built.bias.copy_(torch.linspace(-0.3, 2.0, case['shape'][0]))
    return built.double() if case.get('dtype', torch.float64) is torch.float64 else built


def batches(case, step, ranks):
    """Input and the factors of the loss for each process, of one step."""
    draw = torch.Generator().manual_seed(1000 * step + 17)
    shape = (sum(case['parts'][:ranks]), *case['shape'])
    values = torch.randn(shape, generator=draw, dtype=torch.float64) * (1 + step)
    dtype = case.get('dtype', torch.float64)
    if 'mean' in case:
        values = (4 * values).round() / 4
    values = (values + case.get('mean', 0.7)).to(dtype)
    factors = torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)
    parts = list(case['parts'][:ranks])
    return list(zip(values.split(parts), factors.split(parts), strict=True))


def run_case(built, case, inputs):
    """Trains one process's layer; returns outputs, input gradients, and the layer's tensors."""
    outputs, gradients = [], []
    amp = case.get('dtype') is torch.bfloat16
    for values, factors in inputs:
        values = values.clone().requires_grad_()
        fed = values.contiguous(memory_format=torch.channels_last) \
            if case.get('channels_last') else values
        with torch.autocast('cpu', torch.bfloat16) if amp else contextlib.nullcontext():
            output = built(fed)
        (output.double() * factors.double()).sum().backward()
        outputs.append(output.detach())
        gradients.append(values.grad)
    return dict(outputs=outputs, gradients=gradients, state=built.state_dict(),
                weight_grad=getattr(built.weight, 'grad', None),
                bias_grad=getattr(built.bias, 'grad', None))


def conv_and_norm(norm):
    """A small model, with the same weights in every process."""
    torch.manual_seed(0)
    if norm == 'BatchNormAct2d':
        from timm.layers import BatchNormAct2d
        return nn.Sequential(nn.Conv2d(2, 3, 1), BatchNormAct2d(3, act_layer=nn.SiLU))
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def yolov3():
    """A model section: mmdet's YOLOv3-MobileNetV2 for two classes, its first stages frozen."""
    return dict(
        type='YOLOV3', data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[90.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
        backbone=dict(type='MobileNetV2', out_indices=(2, 4, 6), widen_factor=0.25,
                      frozen_stages=1, act_cfg=dict(type='ReLU')),
        neck=dict(type='YOLOV3Neck', num_scales=3, in_channels=[80, 24, 8],
                  out_channels=[32, 32, 32]),
        bbox_head=dict(
            type='YOLOV3Head', num_classes=2, in_channels=[32, 32, 32],
            out_channels=[32, 32, 32], featmap_strides=[32, 16, 8],
            anchor_generator=dict(
                type='YOLOAnchorGenerator', strides=[32, 16, 8],
                base_sizes=[[(60, 50), (50, 80), (90, 60)], [(32, 32), (40, 30), (30, 44)],
                            [(10, 13), (16, 30), (33, 23)]]),
            bbox_coder=dict(type='YOLOBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
            loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
            loss_xy=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0,
                         reduction='sum'),
            loss_wh=dict(type='L1Loss', loss_weight=2.0, reduction='sum')),
        train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5,
                                     min_pos_iou=0)))


def double_yolov3():
    """The model built in float64: float32 gradients through 70 layers agree to no 5 digits."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    model = MODELS.build(yolov3()).double()
    model.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    return model


def images(count=8):
    """Samples of 96 x 96, each darker or lighter than the others."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    draw = torch.Generator().manual_seed(5)
    samples = []
    for number in range(count):
        image = torch.randint(10 * number, 60 + 25 * number, (3, 96, 96), generator=draw)
        left, top = 4 + 3 * number, 30 - 3 * number
        sample = DetDataSample(
            metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), img_id=number,
                          scale_factor=(1.0, 1.0)),
            gt_instances=InstanceData(
                bboxes=torch.tensor([[left, top, left + 40.0, top + 45.0], [50, 50, 70, 80.0]]),
                labels=torch.tensor([number % 2, 1])))
        samples.append(dict(inputs=image.to(torch.uint8), data_samples=sample))
    return samples


def runner(work_dir, batch_size, lr, load_from, hooks=({'type': 'SyncBatchNormHook'},), **options):
    """mmengine's Runner for two iterations of one epoch over `images`, with EMA and evidence."""
    from mmengine.dataset import DefaultSampler, pseudo_collate
    from mmengine.runner import Runner

    import tricks_plugin.mm.evidence_hook  # noqa: F401
    import tricks_plugin.tricks.sync_bn.hook  # noqa: F401
    data = images()
    return Runner(
        model=double_yolov3(), work_dir=str(work_dir), load_from=str(load_from),
        train_dataloader=torch.utils.data.DataLoader(
            data, batch_size=batch_size, sampler=DefaultSampler(data, shuffle=False),
            collate_fn=pseudo_collate),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1), default_scope='mmdet',
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), runtime_info=None),
        custom_hooks=[dict(type='EMAHook', momentum=0.3), *hooks,
                      dict(type='TrickEvidenceHook', tricks=[dict(name='sync_bn')], strict=True)],
        randomness=dict(seed=1), experiment_name='run', **options)


def train(*args, **kwargs):
    """Trains, and returns the losses, the weights and EMA's, and which layers have which class."""
    from mmengine.hooks import EMAHook
    built = runner(*args, **kwargs)
    losses = []
    step = built.model.train_step
    built.model.train_step = lambda *inputs, **more: losses.append(step(*inputs, **more)) \
        or losses[-1]
    built.train()
    average = next(hook for hook in built.hooks if isinstance(hook, EMAHook))
    model = getattr(built.model, 'module', built.model)
    return dict(losses=[float(values['loss'].detach()) for values in losses],
                state=model.state_dict(),
                ema=average.ema_model.module.state_dict(),
                kinds={name: type(item).__name__ for name, item in model.named_modules()
                       if isinstance(item, nn.modules.batchnorm._BatchNorm)})
