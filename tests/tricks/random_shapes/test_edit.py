"""The config edit of random_shapes."""

from __future__ import annotations

import pytest

pytest.importorskip('mmengine')

from mmengine.config import Config

from tricks_plugin.mm import config_edit
from tricks_plugin.mm.canvas import find_canvas
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.random_shapes import MIN_SIZE, RandomShapes, functional

PAPER = [320, 352, 384, 416, 448, 480, 512, 544, 576, 608]
AUGMENT = 'tricks_plugin.BatchRandomShapes'
HOOK = dict(type='tricks_plugin.BatchRandomShapesHook', off_fraction=0.1, off_epochs=None)
RULE = dict(divisor=32, interval=10, share=0.5)


def apply(cfg, **params):
    """The edited plain config and the verdict."""
    cfg = config_edit.plain(cfg)
    return cfg, RandomShapes.from_dict(params).apply(cfg)


def load(zoo, path):
    if not (zoo / path).is_file():
        pytest.skip('not in this version of mmdet')
    return Config.fromfile(zoo / path, import_custom_modules=False)


def steps_of(cfg):
    return config_edit.train_pipelines(cfg)[-1].steps


def small(*steps, **preprocessor):
    """A single-stage config around a pipeline."""
    return dict(
        model=dict(type='RetinaNet', data_preprocessor=dict(
            type='DetDataPreprocessor', pad_size_divisor=32, **preprocessor)),
        train_dataloader=dict(dataset=dict(pipeline=[*steps, dict(type='PackDetInputs')])))


RESIZE = dict(type='Resize', scale=(640, 640), keep_ratio=True)


def test_yolov3_608_draws_the_papers_sizes_from_its_largest_scale(zoo):
    before = config_edit.plain(load(zoo, 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'))
    cfg, verdict = apply(before)
    assert verdict.status == 'applied'
    rule = dict(RULE, sizes=PAPER, base=608, home=608, side='long')
    assert verdict.promise == dict(rule, off_fraction=0.1, off_epochs=None)
    assert cfg['model']['data_preprocessor']['batch_augments'] == [dict(rule, type=AUGMENT)]
    assert cfg['custom_hooks'] == [HOOK]
    assert dict(type='mmdet.Resize', scale=(608, 608), keep_ratio=True) in steps_of(cfg)
    assert not [step for step in steps_of(cfg) if step['type'] == 'RandomResize']
    assert cfg['val_dataloader'] == before['val_dataloader']
    assert verdict.reason == (
        '10 sizes of 320 to 608 px (long side, as each image is fitted into a square), the largest '
        'first; the random resize of each image gives way to its largest scale; half of the draws '
        'and all from epoch 246 of 273 on, counted from 0, at the test scale of 608 px')


def test_yolov3_416_has_its_resize_raised_and_the_memory_is_named(zoo):
    cfg, verdict = apply(load(zoo, 'yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py'))
    assert verdict.promise['sizes'] == PAPER
    assert dict(type='mmdet.Resize', scale=(608, 608), keep_ratio=True) in steps_of(cfg)
    # (608 / 416) ** 2 = 2.14
    assert "it has 2.1 times the pixels of the config's own 416" in verdict.reason
    assert "the pipeline's resize is raised to it" in verdict.reason
    augment, = cfg['model']['data_preprocessor']['batch_augments']
    assert (augment['base'], augment['home'], augment['side']) == (608, 416, 'long')


def test_retinanet_draws_around_its_test_scale_by_the_short_side(zoo):
    before = config_edit.plain(load(zoo, 'retinanet/retinanet_r50_fpn_1x_coco.py'))
    cfg, verdict = apply(before)
    # 0.75 * 800 = 600 and 1.25 * 800 = 1000, nearest to 608 and 992
    assert verdict.promise['sizes'] == list(range(608, 993, 32))
    assert (verdict.promise['home'], verdict.promise['side']) == (800, 'short')
    # 1333 * 992 / 800 = 1652.9
    assert (1653, 992) in [step.get('scale') for step in steps_of(cfg)]


def test_the_test_scale_counts_and_not_the_largest_of_the_training():
    cfg = small(dict(type='RandomChoiceResize', scales=[(320, 320), (640, 640)], keep_ratio=True))
    cfg['val_dataloader'] = dict(dataset=dict(pipeline=[dict(RESIZE, scale=(512, 512))]))
    cfg['train_cfg'] = dict(max_epochs=10)
    edited, verdict = apply(cfg)
    augment, = edited['model']['data_preprocessor']['batch_augments']
    # 0.75 and 1.25 of 512; the pipeline delivers 640 and is not touched but for its draw
    assert augment['sizes'] == list(range(384, 641, 32))
    assert (augment['base'], augment['home']) == (640, 512)
    assert steps_of(edited)[0] == dict(type='mmdet.Resize', scale=(640, 640), keep_ratio=True)
    assert verdict.reason.endswith('half of the draws and all from epoch 9 of 10 on, counted from '
                                   '0, at the test scale of 512 px')
    del cfg['val_dataloader']
    assert "at the training's own 640 px, as no step of val_dataloader says" in apply(
        cfg)[1].reason


def test_the_share_and_the_tail_can_be_set():
    cfg = dict(small(RESIZE), train_cfg=dict(max_epochs=10))
    edited, verdict = apply(cfg, test_share=0, off_fraction=0)
    assert verdict.reason.endswith('; all are drawn alike to the end')
    assert edited['custom_hooks'][0]['off_fraction'] == 0
    _, verdict = apply(cfg, test_share=0.25, off_epochs=3)
    assert '0.25 of the draws and all from epoch 7 of 10 on' in verdict.reason
    _, verdict = apply(cfg, sizes=[512, 768])  # the test scale is none of them
    assert '; all from epoch 9 of 10 on' in verdict.reason
    with pytest.raises(TrickError, match='off_epochs must be below the 10 epochs of the run, got'):
        apply(cfg, off_epochs=10)
    _, verdict = apply(dict(cfg, train_cfg=dict(max_epochs=1)))
    assert "; half of the draws at the training's own 640 px" in verdict.reason


def test_a_tail_above_all_sizes_comes_first_and_is_what_the_resize_is_raised_to():
    cfg = dict(small(dict(RESIZE, scale=(416, 416))), train_cfg=dict(max_epochs=10),
               val_dataloader=dict(dataset=dict(pipeline=[dict(RESIZE, scale=(608, 608))])))
    edited, verdict = apply(cfg, sizes=[320, 416, 512])
    assert verdict.reason == (
        '3 sizes of 320 to 512 px (long side, as each image is fitted into a square), the 608 px '
        "of the tail first; it has 2.1 times the pixels of the config's own 416, and takes the "
        "memory for it; the pipeline's resize is raised to it; all from epoch 9 of 10 on, counted "
        'from 0, at the test scale of 608 px')
    augment, = edited['model']['data_preprocessor']['batch_augments']
    assert (augment['base'], augment['home']) == (608, 608)
    assert steps_of(edited)[0]['scale'] == (608, 608)
    edited, verdict = apply(cfg, sizes=[320, 416, 512], off_fraction=0)
    augment, = edited['model']['data_preprocessor']['batch_augments']
    assert augment['base'] == 512 and steps_of(edited)[0]['scale'] == (512, 512)
    assert ', the largest first; it has 1.5 times' in verdict.reason


def test_a_range_above_one_raises_both_sides_of_the_resize(zoo):
    cfg, verdict = apply(load(zoo, 'retinanet/retinanet_r50_fpn_1x_coco.py'),
                         ratio_range=(0.8, 1.2), interval=5)
    assert verdict.promise['sizes'] == [640, 672, 704, 736, 768, 800, 832, 864, 896, 928, 960]
    # 1333 * 960 / 800 = 1599.6
    assert (1600, 960) in [step.get('scale') for step in steps_of(cfg)]
    assert verdict.promise['interval'] == 5


def test_a_fixed_canvas_is_left_alone_and_larger_sizes_are_enlarged(zoo):
    before = config_edit.plain(load(zoo, 'rtmdet/rtmdet_l_8xb32-300e_coco.py'))
    cfg, verdict = apply(before)
    assert verdict.promise['sizes'] == list(range(480, 801, 32))  # 0.75 and 1.25 of 640
    assert config_edit.train_pipelines(cfg) == config_edit.train_pipelines(before)
    # its own augmentation ends at epoch 280 of 300, and these with it
    assert cfg['custom_hooks'] == [*before['custom_hooks'], dict(HOOK, off_epochs=20)]
    assert 'all from epoch 280 of 300 on, counted from 0, with custom_hooks[1]' in verdict.reason
    _, verdict = apply(before, sizes=[512, 768])
    assert 'batches are enlarged by interpolation, as Pad decides about' in verdict.reason


def test_yolox_keeps_its_own_unless_it_is_to_be_replaced(zoo):
    before = config_edit.plain(load(zoo, 'yolox/yolox_s_8xb8-300e_coco.py'))
    cfg, verdict = apply(before)
    assert verdict.status == 'present' and cfg == before
    assert 'rounds the aspect down' in verdict.reason and 'replace=True' in verdict.reason
    cfg, verdict = apply(before, replace=True)
    augments = cfg['model']['data_preprocessor']['batch_augments']
    assert [item['type'] for item in augments] == [AUGMENT]
    assert augments[0]['sizes'] == list(range(480, 801, 32)) and augments[0]['base'] == 640


def test_a_large_pad_divisor_and_cudnn_benchmark_are_respected(zoo):
    cfg, verdict = apply(load(zoo, 'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py'))
    augments = cfg['model']['data_preprocessor']['batch_augments']
    assert [item['type'] for item in augments] == ['BatchFixedSizePad', AUGMENT]
    assert augments[1]['divisor'] == 128 and augments[1]['sizes'] == [512, 640, 768]
    assert cfg['env_cfg']['cudnn_benchmark'] is False
    assert verdict.reason.endswith('cudnn_benchmark is off, as it would search anew for every '
                                   'shape')


@pytest.mark.parametrize('path, words', [
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'for single-stage detectors, this has two'),
    ('detr/detr_r50_8xb2-150e_coco.py', 'single-stage detectors, DETR is query-based'),
    ('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 'Mask2Former is query-based'),
    ('ssd/ssd300_coco.py', 'SSDAnchorGenerator, whose anchors are laid out for one input size'),
    ('yolact/yolact_r50_1xb8-55e_coco.py', 'strides holds 7.97101, no power of two'),
    ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
     'MultiBranchDataPreprocessor, which is no DetDataPreprocessor'),
    ('masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py',
     'TrackDataPreprocessor, whose batches are clips'),
    ('misc/d2_mask-rcnn_r50-caffe_fpn_ms-90k_coco.py', 'the model has no data_preprocessor'),
])
def test_what_has_no_use_for_it_is_left_alone_with_the_reason(zoo, path, words):
    before = config_edit.plain(load(zoo, path))
    cfg, verdict = apply(before)
    assert verdict.status == 'not_applicable' and words in verdict.reason
    assert cfg == before


def test_two_stage_detectors_get_it_on_request(zoo):
    cfg, verdict = apply(load(zoo, 'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'),
                         two_stage=True)
    # 450 and 750 px are nearest to 448 and 736; 600 stands for 608, to which its batches are padded
    assert verdict.promise['sizes'] == [448, 480, 512, 544, 576, 600, 640, 672, 704, 736]
    assert (verdict.promise['base'], verdict.promise['home']) == (736, 600)
    assert verdict.reason.startswith('10 sizes of 448 to 736 px') and \
        '; half of the draws and all from ' in verdict.reason
    assert 'at the test scale of 600 px' in verdict.reason
    # 1000 * 736 / 600 = 1226.7
    assert {step['scale'] for pipeline in config_edit.train_pipelines(cfg)
            for step in pipeline.steps if step['type'] == 'Resize'} == {(1227, 736)}


@pytest.mark.parametrize('path', ['solo/solo_r50_fpn_1x_coco.py',
                                  'centernet/centernet_r18_8xb16-crop512-140e_coco.py'])
def test_a_second_application_changes_nothing(zoo, path):
    cfg, verdict = apply(load(zoo, path))
    assert verdict.status == 'applied'
    promised = verdict.promise
    again, verdict = apply(cfg)
    assert verdict.status == 'present' and again == cfg
    assert verdict.promise == promised
    assert verdict.reason == 'model.data_preprocessor.batch_augments[0] is BatchRandomShapes'


def test_odd_configs_get_a_verdict():
    assert apply({})[1].reason == 'the config has no model'
    assert apply(dict(model=3))[1].status == 'not_applicable'
    assert apply(dict(small(), train_dataloader=None))[1].reason == (
        'the config has no training pipeline')
    assert 'at which scale' in apply(small())[1].reason
    assert 'at which scale' in apply(small(dict(type='Resize', scale_factor=2.0)))[1].reason
    assert 'is no list' in apply(small(RESIZE, batch_augments=5))[1].reason
    assert 'BatchResize' in apply(
        small(RESIZE, batch_augments=[dict(type='BatchResize', scale=(1, 1))]))[1].reason
    tiny = dict(RESIZE, scale=(64, 64))
    assert apply(small(tiny))[1].status == 'applied'  # 64 and 96 px: 80 is rounded up
    tiny = dict(RESIZE, scale=(40, 40))
    assert apply(small(tiny))[1].reason.startswith('the config trains at 40 px, around which there')


def test_pipelines_of_unlike_scales_are_left_alone():
    parts = [dict(pipeline=[dict(RESIZE, scale=(side, side))]) for side in (320, 640)]
    cfg = small()
    cfg['train_dataloader']['dataset'] = dict(type='ConcatDataset', datasets=parts)
    assert '(long sides of 320, 640 px)' in apply(cfg)[1].reason


def test_a_pipeline_that_a_hook_switches_to_is_raised_as_well():
    cfg = small(RESIZE)
    cfg['custom_hooks'] = [dict(type='PipelineSwitchHook', switch_pipeline=[dict(RESIZE)])]
    cfg, verdict = apply(cfg, sizes=(640, 960))
    assert steps_of(cfg)[0]['scale'] == (960, 960)
    assert cfg['custom_hooks'][0]['switch_pipeline'][0]['scale'] == (960, 960)
    assert cfg['model']['data_preprocessor']['batch_augments'][0]['base'] == 960


@pytest.mark.parametrize('steps, size, editable', [
    ([dict(type='Resize', scale=(1333, 800))], (1333, 800), True),
    ([dict(type='RandomResize', scale=[(320, 480), (608, 400)])], (608, 480), True),
    ([dict(type='RandomResize', scale=(1000, 600), ratio_range=(0.5, 1.5))], (1500, 900), True),
    ([dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)])], (800, 1333), True),
    ([dict(type='RandomResize', scale=(1280, 1280), ratio_range=(0.1, 2.0)),
      dict(type='RandomCrop', crop_size=(640, 512))], (640, 512), False),
    ([dict(type='Mosaic', img_scale=(640, 480)),
      dict(type='RandomAffine', border=(-320, -240))], (640, 480), False),
    ([dict(type='Mosaic', img_scale=(640, 480)), RESIZE], (640, 640), False),
    ([dict(type='Mosaic9', img_scale=640),  # mmyolo's
      dict(type='YOLOv5RandomAffine', border=(-320, -320))], (640, 640), False),
    ([dict(type='RandomCenterCropPad', crop_size=(512, 768)), RESIZE], (640, 640), False),
    ([RESIZE, dict(type='Pad', size=(704, 672))], (704, 672), False),
    ([RESIZE, dict(type='Pad', size_divisor=32)], (640, 640), True),
    ([dict(type='RandomChoice', transforms=[[RESIZE], [dict(type='RandomFlip'), RESIZE]])],
     (640, 640), False),
    ([dict(type='RandomFlip'), 'odd', dict(type='Resize', scale='large')], None, None),
])
def test_the_scale_is_what_the_last_deciding_step_says(steps, size, editable):
    canvas = find_canvas(steps)
    assert (canvas and canvas.size) == size
    if canvas:
        assert (canvas.step is not None) is editable


@pytest.mark.parametrize('params, message', [
    (dict(sizes=[320, 400]), r'random_shapes.sizes must be multiples of 32, got 400'),
    (dict(sizes=[32, 320]), r'random_shapes.sizes must be 64 px or more, got 32'),
    (dict(sizes=[320, 320]), r'must hold two sizes or more, got \[320, 320\]'),
    (dict(sizes=[320.5]), r'random_shapes.sizes must be of type'),
    (dict(ratio_range=(1.2, 0.8)), r'with 0 < low < high, got \(1.2, 0.8\)'),
    (dict(ratio_range=[0.5]), r'with 0 < low < high, got \[0.5\]'),
    (dict(ratio_range=(0.5, 1.0), sizes=[320, 352]), 'give ratio_range or sizes, not both'),
    (dict(off_fraction=0.2, off_epochs=3), 'give off_fraction or off_epochs, not both, got 0.2'),
    (dict(test_share=1.0), 'random_shapes.test_share must be < 1, got 1.0'),
    (dict(interval=0), 'random_shapes.interval must be >= 1, got 0'),
    (dict(divisor=0), 'random_shapes.divisor must be >= 1, got 0'),
    (dict(ratio=2), "random_shapes.ratio: unknown parameter; did you mean 'ratio_range'"),
])
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(TrickError, match=message):
        RandomShapes.from_dict(params)


def test_parameters_that_this_config_cannot_use_are_refused():
    with pytest.raises(TrickError, match=r'ratio_range must span .* got \(0.05, 1.0\) of 640 px'):
        apply(small(RESIZE), ratio_range=(0.05, 1.0))
    cfg = small(RESIZE)
    cfg['model']['data_preprocessor']['pad_size_divisor'] = 128
    with pytest.raises(TrickError, match="multiples of 128 .*pad_size_divisor.*, got 320"):
        apply(cfg, sizes=[320, 640])


@pytest.mark.parametrize('params, args, expected', [
    ({}, dict(img_size=224), [160, 192, 224]),
    ({}, dict(input_size=[3, 288, 288]), [192, 224, 256, 288]),  # 205.7 px is nearer to 192
    ({'ratio_range': [0.5, 1.0]}, dict(img_size=256), [128, 160, 192, 224, 256]),
    ({'sizes': [256, 192]}, {}, [192, 256]),
    ({}, dict(img_size=224, train_img_sizes=[176, 224]), [176, 224]),
])
def test_timm_gets_its_scheduled_resolutions(params, args, expected):
    pytest.importorskip('timm')
    assert RandomShapes.from_dict(params).timm_args(args) == dict(train_img_sizes=expected)


@pytest.mark.parametrize('args, words', [
    (dict(img_size=32), 'the model takes 32 px, which leaves fewer than two sizes of 64 px or'),
    (dict(input_size=[3, 224, 192]), 'square sizes only, and the model takes 224 x 192 px'),
    ({}, 'the size of the images is not known'),
    (dict(img_size=224, use_multi_epochs_loader=True),
     '--use-multi-epochs-loader and --train-img-sizes exclude each other in timm'),
    (dict(img_size=224, aug_splits=3), '--aug-splits and --train-img-sizes exclude each other'),
    (dict(img_size=224, dataset='tfds/imagenet'), 'is a stream, which timm reads at one size'),
    (dict(img_size=224, model='vit_tiny_patch16_224'), 'takes images of one size only'),
])
def test_timm_says_why_it_cannot_draw_sizes(args, words):
    pytest.importorskip('timm')
    assert words in RandomShapes.from_dict({}).timm_args(args)



def test_the_smallest_size_is_that_of_the_functions():
    assert MIN_SIZE == functional.MIN_SIZE
