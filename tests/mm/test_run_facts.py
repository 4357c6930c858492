"""What a config tells of its run, and what a recipe holds back by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.common.processes import planned_for
from tricks_plugin.mm.image_count import count_images, epoch_iterations
from tricks_plugin.mm.run_facts import epoch_length, run_facts
from tricks_plugin.plan import RunFacts
from tricks_plugin.tricks import TRICKS
from tricks_plugin.tricks.cosine_warmup import CosineWarmup

CROP = dict(type='MinIoURandomCrop')


def coco(root, count, name='train.json', **more):
    (root / name).write_text(json.dumps({'images': [{'id': n} for n in range(count)],
                                         'annotations': []}))
    return dict(type='CocoDataset', data_root=str(root), ann_file=name, **more)


def config(dataset, epochs=40, scale=(192, 160), steps=(CROP,), **more):
    """YOLOv3 on a data set, 16 images an update."""
    resize = dict(type='Resize', scale=scale, keep_ratio=True)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
                *steps, resize, dict(type='PackDetInputs')]
    inner = dataset
    while 'dataset' in inner:
        inner = inner['dataset']
    inner['pipeline'] = pipeline
    return dict(
        model=dict(type='YOLOV3', data_preprocessor=dict(type='DetDataPreprocessor'),
                   backbone=dict(type='MobileNetV2', init_cfg=dict(
                       type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2')),
                   bbox_head=dict(type='YOLOV3Head', num_classes=3)),
        train_dataloader=dict(batch_size=16, dataset=dataset),
        val_dataloader=dict(dataset=dict(pipeline=[dict(type='Resize', scale=scale)])),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.05)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[28, 36])],
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs), default_scope='mmdet',
        **more)


def test_blood_cells_in_numbers(tmp_path):
    cfg = config(dict(type='RepeatDataset', times=1, dataset=coco(
        tmp_path, 205, metainfo=dict(classes=('RBC', 'WBC', 'Platelets')))))
    found = run_facts(cfg)
    # 205 / 16 = 12.8: 13 iterations, 40 times
    assert found == RunFacts(
        batch_size=16, accumulation=1, epochs=40, images=205, samples=205, updates=520, scale=160,
        train_scale=160, classes=3, pretrained='backbone', augmentation=('MinIoURandomCrop',),
        task='detection')
    assert found.words() == (
        '205 images, 40 epochs, 520 updates, 16 images per update, tested at 160 px, 3 classes, '
        'pretrained backbone, augmented by MinIoURandomCrop')
    with planned_for(3):
        # 205 / 3 = 69 images each, 5 batches of 16, or 4 whole ones
        assert run_facts(cfg).updates == 200
        assert run_facts(dict(cfg, train_dataloader=dict(
            cfg['train_dataloader'], drop_last=True))).updates == 160
    printed = json.loads(json.dumps(found.to_dict()))
    assert printed['images'] == 205 and printed['effective_batch'] == 16
    assert printed['augmentation'] == ['MinIoURandomCrop'] and printed['unknown'] == []


def test_the_length_counts_accumulation_and_limits(tmp_path):
    cfg = config(coco(tmp_path, 100), epochs=3)
    cfg['optim_wrapper']['accumulative_counts'] = 4
    assert run_facts(cfg).updates == 6  # 7 x 3 = 21 iterations, of 4, rounded up
    cfg['train_dataloader']['num_batch_per_epoch'] = 2
    assert run_facts(cfg).updates == 2
    cfg['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=90)
    found = run_facts(cfg)
    assert (found.updates, found.iterations, found.epochs) == (23, 90, None)


@pytest.mark.parametrize('samples, batch, processes, dropped, each', [
    (205, 16, 1, False, 13), (205, 16, 1, True, 12), (205, 16, 2, False, 7), (205, 16, 2, True, 6),
    (8, 16, 1, True, 0)])
def test_iterations_of_an_epoch(samples, batch, processes, dropped, each):
    assert epoch_iterations(samples, batch, processes, dropped) == each


def counted(node):
    found = count_images(node, 'train', 'mmdet')
    return found.images, found.samples, found.why


def test_images_are_counted_through_wrappers(tmp_path):
    one, two = coco(tmp_path, 30), coco(tmp_path, 12, 'b.json')
    assert counted(dict(type='RepeatDataset', times=3, dataset=one)) == (30, 90, '')
    both = dict(type='ConcatDataset', datasets=[dict(
        type='RepeatDataset', times=2, dataset=one), two])
    assert counted(dict(type='MultiImageMixDataset', dataset=both)) == (42, 72, '')
    images, samples, why = counted(dict(type='ClassBalancedDataset', dataset=one))
    assert (images, samples) == (30, None) and 'how rare their classes are' in why
    images, samples, why = counted(dict(type='MyWrapper', dataset=one))
    assert (images, samples) == (30, None) and why == (
        'train is MyWrapper, which may repeat images or leave some out')
    assert counted(dict(one, indices=7))[:2] == (7, 7)
    assert counted(dict(one, indices=[1, 2, 3]))[:2] == (3, 3)


def test_lists_of_names_are_counted_by_their_lines(tmp_path):
    (tmp_path / 'trainval.txt').write_text('000005\n000007\n\n000009')
    voc = dict(type='VOCDataset', data_root=str(tmp_path), ann_file='trainval.txt')
    assert counted(voc) == (3, 3, '')
    assert counted(dict(voc, type='MyDataset'))[2] == (
        f'{tmp_path}/trainval.txt was not counted: the format of MyDataset is not known here')


def folders(root, **counts):
    """Class folders with so many JPEGs each, one more that is hidden, and a text."""
    for name, count in counts.items():
        (root / name / 'deep').mkdir(parents=True)
        for number in range(count):
            place = root / name / ('deep' if number % 2 else '')
            (place / f'{number}.{"JPG" if number else "png"}').write_bytes(b'')
        (root / name / '.hidden.jpg').write_bytes(b'')
        (root / name / 'notes.txt').write_text('')
    (root / 'beside.jpg').write_bytes(b'')  # in no class
    return root


def in_folders(node):
    found = count_images(node, 'train', 'mmpretrain')
    return found.images, found.samples, found.why


@pytest.mark.slow
def test_class_folders_are_counted_as_mmpretrain_finds_them(tmp_path):
    folders(tmp_path / 'train', cat=3, dog=5)
    folders(tmp_path / 'test', none=4)
    root = str(tmp_path)
    custom = dict(type='CustomDataset', data_root=root)
    nodes = [dict(custom, data_prefix='train'), dict(custom, data_prefix=dict(img_path='train')),
             dict(type='CustomDataset', data_prefix=f'{root}/train', ann_file=''),
             dict(type='ImageNet', data_root=root, split='train'),
             dict(type='mmpretrain.ImageNet', data_root=root, split='val', data_prefix='train')]
    assert [in_folders(node) for node in nodes] == [(8, 8, '')] * 5
    more = [(dict(nodes[0], extensions=('.PNG',)), 2), (dict(nodes[0], with_label=False), 9),
            (dict(type='ImageNet', data_root=root, split='test'), 5), (dict(custom), 14),
            (dict(nodes[0], indices=3), 3)]
    assert [in_folders(node)[0] for node, _ in more] == [count for _, count in more]
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta' / 'train.txt').write_text('a.jpg 0\nb.jpg 1\n')
    assert in_folders(nodes[3]) == (2, 2, '')
    datasets = pytest.importorskip('mmpretrain.datasets')
    for node, count in [*((node, 8) for node in nodes[:3]), (nodes[3], 2), *more]:
        if node['type'] == 'ImageNet':
            continue  # its thousand classes must have a folder each
        settings = {key: value for key, value in node.items() if key != 'type'}
        assert len(datasets.CustomDataset(**settings, pipeline=[])) == count
    assert len(datasets.ImageNet(root, 'train')) == 2
    assert len(datasets.ImageNet(root, 'test')) == 5


@pytest.mark.parametrize('node, words', [
    (dict(type='ImageNet', data_root='/nowhere', split='train'), '/nowhere/train is not here'),
    (dict(type='CustomDataset', data_root='s3://x', data_prefix='train'),
     's3://x/train is no local folder'),
    (dict(type='CustomDataset', data_prefix=dict(img='x')),
     "train.data_prefix names no folder, got {'img': 'x'}"),
    (dict(type='CustomDataset', data_root='{root}'),
     '{root} was not counted: it holds no file that ends in .jpg, '),
    (dict(type='CustomDataset'), 'train.data_root and data_prefix name no folder'),
    (dict(type='MyFolders', data_root='{root}'), 'train names no annotation file')])
def test_class_folders_that_cannot_be_counted_are_said(node, words, tmp_path):
    node = {key: str(tmp_path) if value == '{root}' else value for key, value in node.items()}
    images, samples, why = in_folders(node)
    assert (images, samples) == (None, None) and why.startswith(
        words.replace('{root}', str(tmp_path)))


def test_a_classifiers_run_in_class_folders_is_known(tmp_path):
    folders(tmp_path / 'train', cat=30, dog=20)
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
    cfg = dict(
        default_scope='mmpretrain', model=dict(head=dict(num_classes=2)),
        train_dataloader=dict(batch_size=8, dataset=dict(
            type='ImageNet', data_root=str(tmp_path), split='train',
            pipeline=[load, dict(type='RandomResizedCrop', scale=224), pack])),
        val_dataloader=dict(dataset=dict(pipeline=[
            load, dict(type='ResizeEdge', scale=256, edge='short'),
            dict(type='CenterCrop', crop_size=224), pack])),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=10))
    assert run_facts(cfg) == RunFacts(
        batch_size=8, accumulation=1, epochs=10, images=50, samples=50, updates=70, scale=224,
        train_scale=224, classes=2, augmentation=('RandomResizedCrop',), task='classification')


@pytest.mark.parametrize('steps, side', [
    ([dict(type='ResizeEdge', scale=256), dict(type='CenterCrop', crop_size=224)], 224),
    ([dict(type='ResizeEdge', scale=256), dict(type='CenterCrop', crop_size=(224, 192))], 192),
    ([dict(type='ResizeEdge', scale=200), dict(type='CenterCrop', crop_size=224)], 200),
    ([dict(type='ResizeEdge', scale=200), dict(type='CenterCrop', crop_size=224, auto_pad=True)],
     224),
    ([dict(type='CenterCrop', crop_size=224), dict(type='Resize', scale=(96, 64))], 64),
    ([dict(type='EfficientNetCenterCrop', crop_size=380)], 380),
    ([dict(type='ResizeEdge', scale=256, edge='long')], None),
    ([dict(type='TestTimeAug', transforms=[[dict(type='Resize', scale=(9, 608)), dict(
        type='Resize', scale=(800, 416))], [dict(type='RandomFlip')]])], 416),
    ([dict(type='Resize', scale=(1333, 800), keep_ratio=True), dict(type='Pad', size_divisor=32)],
     800)])
def test_the_last_resize_or_crop_says_at_which_size_is_tested(steps, side):
    cfg = dict(val_dataloader=dict(dataset=dict(pipeline=steps)))
    assert run_facts(cfg).scale == side


@pytest.mark.parametrize('steps, words', [
    ([dict(type='Resize', scale=(192, 192), keep_ratio=True)],
     'test scale 192 px (a square that images are fitted into: their short sides are less)'),
    ([dict(type='Resize', scale=192, keep_ratio=True)],
     'test scale 192 px (a square that images are fitted into: their short sides are less)'),
    ([dict(type='Resize', scale=(192, 192), keep_ratio=False)], 'tested at 192 px'),
    ([dict(type='Resize', scale=(1333, 800), keep_ratio=True)], 'tested at 800 px'),
    ([dict(type='Resize', scale=(640, 640), keep_ratio=True),
      dict(type='Pad', pad_to_square=True)], 'tested at 640 px')])
def test_a_square_scale_that_keeps_the_aspect_is_said_to_deliver_less(steps, words):
    assert run_facts(dict(val_dataloader=dict(dataset=dict(pipeline=steps)))).words() == words


@pytest.mark.parametrize('node, words', [
    (dict(type='CocoDataset', ann_file='none.json', data_root='/nowhere'),
     '/nowhere/none.json is not here'),
    (dict(type='CocoDataset', ann_file='s3://x/train.json'), 'train.ann_file is no local file'),
    (dict(type='CocoDataset', ann_file='a.json', backend_args=dict(backend='petrel')),
     'train.ann_file is no local file'),
    (dict(type='CustomImages', data_root='data'), 'train names no annotation file'),
    (dict(type='MyDataset', ann_file=['a.json', 'b.json']), 'train.ann_file is a list, and what'),
    (dict(type='RefCocoDataset', ann_file='{root}/train.json', split_file='refs(unc).p',
          split='train'), 'train.split_file picks the images of a split'),
    (dict(type='MOTChallengeDataset', ann_file='a.json'), 'clips of videos'),
    (3, 'train is no data set with a type')])
def test_what_cannot_be_counted_is_said(node, words, tmp_path):
    coco(tmp_path, 9)
    if isinstance(node, dict) and isinstance(node.get('ann_file'), str):
        node = dict(node, ann_file=node['ann_file'].replace('{root}', str(tmp_path)))
    images, samples, why = counted(node)
    assert (images, samples) == (None, None) and words in why


def test_damaged_and_foreign_files_are_unknown_and_hold_nothing_back(tmp_path):
    dataset = coco(tmp_path, 205)
    (tmp_path / 'train.json').write_text('{"images": [{]}')
    _, plan = tricks_plugin.apply_tricks(Config(config(dataset, scale=(416, 416))),
                                         'bag_of_freebies')
    assert plan.run.images is None and plan.run.updates is None
    assert plan.run.unknown[0].startswith('the number of images is not known: ')
    assert 'the number of images is not known' in plan.table()
    assert 'held_back' not in {row.status for row in plan.tricks}


def test_the_updates_of_another_sampler_are_not_known(tmp_path):
    cfg = config(coco(tmp_path, 205))
    cfg['train_dataloader']['sampler'] = dict(type='ClassAwareSampler', num_sample_class=1)
    found, why = run_facts(cfg), 'how many samples ClassAwareSampler draws in an epoch is not known'
    assert (found.images, found.updates) == (205, None)
    assert found.unknown == (f'the length of an epoch is not known: {why}',)
    assert epoch_length(cfg) == (None, why)
    cfg['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=90)
    assert run_facts(cfg).updates == 90 and run_facts(cfg).unknown == ()
    cfg['train_dataloader'].update(sampler=dict(type='DefaultSampler'), num_batch_per_epoch=5)
    assert epoch_length(cfg) == (5, '')


@pytest.mark.parametrize('task, pretrained, words', [
    ('detection', 'detector', 'pretrained detector'), (None, 'detector', 'pretrained model'),
    ('classification', 'detector', 'pretrained classifier'),
    ('classification', 'backbone', 'pretrained backbone')])
def test_whole_weights_are_named_by_what_the_run_trains(task, pretrained, words):
    assert RunFacts(task=task, pretrained=pretrained).words() == words


def test_what_is_loaded_tells_what_is_pretrained(tmp_path):
    cfg = config(coco(tmp_path, 1))
    assert run_facts(dict(cfg, load_from='a.pth')).pretrained == 'detector'
    loads = dict(type='Pretrained', checkpoint='a.pth')
    assert run_facts(dict(cfg, model=dict(detector=dict(init_cfg=loads)))).pretrained == 'detector'
    assert run_facts(dict(cfg, model=dict(d2=dict(weights='d2://R-50')))).pretrained == 'backbone'
    assert run_facts(dict(cfg, model=dict(teacher=dict(init_cfg=loads)))).pretrained is None
    # Random weights under a pretrained neck are random weights.
    for part in ('neck', 'bbox_head'):
        other = dict(cfg['model'], backbone=dict(type='ResNet'), **{part: dict(init_cfg=loads)})
        assert run_facts(dict(cfg, model=other)).pretrained is None
    backbone = cfg['model']['backbone']
    backbone['init_cfg'] = None
    assert run_facts(cfg).pretrained is None and run_facts(cfg).frozen_stages is None
    backbone.update(pretrained=True, frozen_stages=2)
    assert run_facts(cfg).pretrained == 'backbone' and run_facts(cfg).frozen_stages == 2
    backbone.update(pretrained=False, frozen_stages=-1)
    assert run_facts(cfg).frozen_stages is None and run_facts(cfg).pretrained is None
    backbone['checkpoint'] = 'b.pth'  # of TimmBackbone
    assert run_facts(cfg).pretrained == 'backbone'
    cfg['model']['init_cfg'] = [dict(type='Kaiming'), loads]
    assert run_facts(cfg).pretrained == 'detector'


def test_a_folder_may_be_a_path_object(tmp_path):
    cfg = config(coco(tmp_path, 7))
    cfg['train_dataloader']['dataset'].update(data_root=tmp_path, ann_file=Path('train.json'))
    assert run_facts(cfg).images == 7


def rows(cfg, tricks='bag_of_freebies'):
    _, plan = tricks_plugin.apply_tricks(Config(cfg), tricks)
    return {row.name: row for row in plan.tricks}


def test_a_small_run_holds_mixup_and_shapes_back_and_an_order_applies_them(tmp_path):
    cfg = config(coco(tmp_path, 205))
    found = rows(cfg)
    assert {name for name, row in found.items() if row.status == 'held_back'} == {
        'mixup', 'random_shapes'}
    assert found['mixup'].reason == (
        '520 updates (of 3000) and 205 images (of 1000) are too few for mixup beside '
        'MinIoURandomCrop: on 205 images it cost 4.8 points of mAP in 2080 updates, and 4.4 in '
        '520 from a pretrained backbone (three seeds each); '
        'tricks.mixup=True (or --tricks ...,mixup) applies it all the same')
    assert found['random_shapes'].reason.startswith(
        'a test scale of 160 px (of 320) and 520 updates (of 2000) are too small a run')
    assert all(row.changes == () for row in found.values() if row.status == 'held_back')
    for order in (['bag_of_freebies', 'mixup', 'random_shapes'],
                  {'recipe': 'bag_of_freebies', 'mixup': True, 'random_shapes': {}}):
        found = rows(cfg, order)
        assert found['mixup'].status == found['random_shapes'].status == 'applied'


def against_cosine(cfg, **params):
    """Why a recipe with a plain cosine would hold it back."""
    return CosineWarmup.from_dict(params).config_pays(cfg, run_facts(cfg))


def test_a_small_run_keeps_its_own_steps_where_a_recipe_has_no_flat_part(tmp_path):
    cfg = config(coco(tmp_path, 205))  # 520 updates
    assert against_cosine(cfg) == (
        '8320 images seen (of 12000) from a pretrained backbone are too few for a cosine in place '
        'of MultiStepLR: on 205 images and 520 updates of 8 `finetune` with it cost 3 points of '
        'mAP, and brought 7.4 with tricks.cosine_warmup.flat_fraction=0.7 (three seeds)')
    del cfg['model']['backbone']['init_cfg']
    assert against_cosine(cfg) == (
        '8320 images seen (of 20000) from random weights are too few for a cosine in place of '
        'MultiStepLR: on 896 images and 1120 updates it cost 4.7 points of mAP (three seeds), '
        'and with tricks.cosine_warmup.flat_fraction=0.7 none that is shown')
    assert against_cosine(cfg, fitted_flat=0.5) is against_cosine(cfg, flat_fraction=0.5) is None
    assert against_cosine(cfg, fitted_flat=0.4) and against_cosine(cfg, flat_fraction=0.4)
    assert rows(cfg, 'finetune,cosine_warmup')['cosine_warmup'].status == 'applied'
    assert rows(cfg, 'modern')['cosine_warmup'].reason.endswith(
        ', then flat for 0.5 of the rest, then cosine to 0 over 40 epochs')
    cfg['train_cfg']['max_epochs'] = 97  # of 13 iterations of 16 images: 20176
    assert against_cosine(cfg) is None
    cfg['train_cfg']['max_epochs'] = 96
    assert against_cosine(cfg)
    # What loses is a cosine in place of steps: nothing is measured where the LR stays, or bends.
    for own in ([], [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50)],
                [dict(type='CosineAnnealingLR', T_max=96)]):
        cfg['param_scheduler'] = own
        assert against_cosine(cfg) is None


@pytest.mark.parametrize(('epochs', 'given', 'flat'), [
    (96, {}, 0.7),  # of 13 iterations of 16 images: 19968
    (97, {}, 0.0),  # 20176
    (96, {'flat_fraction': 0.0}, 0.0),
    (96, {'flat_fraction': 0.2}, 0.2),
    (96, {'fitted_flat': 0.5}, 0.5),
])
def test_a_recipes_flat_part_is_that_of_short_runs_from_random_weights(
        tmp_path, epochs, given, flat):
    cfg = config(coco(tmp_path, 205))
    del cfg['model']['backbone']['init_cfg']
    cfg['train_cfg']['max_epochs'] = epochs
    order = {'recipe': 'bag_of_freebies', **({'cosine_warmup': given} if given else {})}
    effective, plan = tricks_plugin.apply_tricks(Config(cfg), order)
    assert effective.param_scheduler[0].get('flat_fraction', 0.0) == flat
    why = f'as {208 * epochs} images seen (of 20000) from random weights are too few for a cosine'
    assert (why in plan['cosine_warmup'].reason) == (
        flat > 0 and 'flat_fraction' not in given)


@pytest.mark.parametrize(('epochs', 'whole', 'flat'), [
    (57, False, 0.7),  # of 13 iterations of 16 images: 11856
    (58, False, 0.0),  # 12064
    (40, True, 0.0),  # a whole detector, of which nothing is measured
])
@pytest.mark.parametrize('recipe', ['bag_of_freebies', 'finetune'])
def test_from_pretrained_weights_shorter_runs_have_a_flat_part(
        tmp_path, recipe, epochs, whole, flat):
    cfg = config(coco(tmp_path, 205))
    cfg['train_cfg']['max_epochs'] = epochs
    if whole:
        cfg['load_from'] = 'detector.pth'
    effective, plan = tricks_plugin.apply_tricks(Config(cfg), recipe)
    assert effective.param_scheduler[0].get('flat_fraction', 0.0) == flat
    assert ('images seen (of 12000) from a pretrained backbone are too few for a cosine from'
            in plan['cosine_warmup'].reason) == (flat > 0)


def test_what_is_there_already_is_present_and_not_held_back(tmp_path):
    cfg = config(coco(tmp_path, 205))
    effective, _ = tricks_plugin.apply_tricks(Config(cfg), ['bag_of_freebies', 'mixup'])
    _, plan = tricks_plugin.apply_tricks(effective, 'bag_of_freebies')
    assert plan['mixup'].status == 'present' and plan['random_shapes'].status == 'held_back'


@pytest.mark.parametrize('name, facts, against', [
    ('mixup', dict(updates=2999, images=5000, augmentation=('RandomCrop',)), '2999 updates'),
    ('mixup', dict(updates=3000, images=1000, augmentation=('RandomCrop',)), ''),
    ('mixup', dict(updates=9999, images=999, augmentation=('RandomCrop',)), '999 images'),
    ('mixup', dict(updates=520, images=205), ''),  # it gains where nothing else augments
    ('mixup', dict(augmentation=('RandomCrop',)), ''),  # nothing on guesses
    ('mixup', dict(updates=10, augmentation=('scale',), task='classification'), ''),
    ('random_shapes', dict(scale=319, updates=9999), 'a test scale of 319 px'),
    ('random_shapes', dict(scale=320, updates=2000), ''),
    ('random_shapes', dict(scale=608, updates=1999), '1999 updates (of 2000) is too small a run'),
    ('random_shapes', dict(), ''),
    ('random_shapes', dict(scale=224, task='classification'), 'no run of a classifier at random'),
    ('label_smoothing', dict(updates=1499, task='classification'), '1499 updates (of 1500)'),
    ('label_smoothing', dict(updates=1500, task='classification'), ''),
    ('label_smoothing', dict(images=50, task='classification'), ''),
    ('label_smoothing', dict(updates=10), ''),  # a detector's
    ('cosine_warmup', dict(updates=10, images=1, scale=32), '')])
def test_the_thresholds(name, facts, against):
    reason = TRICKS.get(name).from_dict({}).pays(RunFacts(**{'task': 'detection', **facts}))
    assert (reason is None) if not against else against in reason
