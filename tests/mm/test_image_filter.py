"""The images that a data set keeps, beside what the built data set holds."""

from __future__ import annotations

import json

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.mm import image_filter, json_lists
from tricks_plugin.mm.image_count import count_images
from tricks_plugin.mm.run_facts import epoch_length, filters_images, run_facts

datasets = pytest.importorskip('mmdet.datasets')

EMPTY = dict(filter_empty_gt=True)
NAMES = dict(classes=('cat', 'dog'))


def image(number, width=64, height=48):
    return dict(id=number, file_name='a.jpg', width=width, height=height)


def thing(number, image_id, category, **more):
    return {**dict(id=number, image_id=image_id, category_id=category, bbox=[0, 0, 9, 9], area=81,
                   iscrowd=0), **more}


CATEGORIES = [dict(id=3, name='cat'), dict(id=5, name='dog'), dict(id=8, name='cow'),
              dict(id=9, name='bird')]
# Eight images: cats on 1 and 2, a dog on 2 (twice) and on 3, cows on 4, a crowd of dogs on 5, a
# cat of no area on 6, nothing on 7 and 8. Of 2 and 8 one side has less than 32 px, 3 has just 32.
COCO = dict(
    info={}, images=[image(1), image(2, 640, 31), image(3, 32, 32), *map(image, range(4, 8)),
                     image(8, 20, 20)],
    annotations=[thing(1, 1, 3, segmentation=[[1, 2.5, 3, 4]]), thing(2, 2, 3), thing(3, 2, 5),
                 thing(4, 2, 5), thing(5, 3, 5), thing(6, 4, 8), thing(7, 4, 8),
                 thing(8, 5, 5, iscrowd=1, segmentation=dict(counts=[1, 2], size=[48, 64])),
                 thing(9, 6, 3, area=0, bbox=[0, 0, 0, 0])], categories=CATEGORIES)
LATE = {key: COCO[key] for key in ('categories', 'annotations', 'images')}


@pytest.fixture(params=[COCO, LATE], ids=['images first', 'images last'])
def node(request, tmp_path):
    return write(tmp_path, request.param)


def write(root, content, **more):
    file = root / 'train.json'
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return dict(type='CocoDataset', ann_file=str(file), data_prefix=dict(img=''), **more)


def counted(node):
    found = count_images(node, 'train', 'mmdet')
    return found.images, found.samples, found.at_most, found.why


@pytest.mark.parametrize('more, count', [
    (dict(metainfo=NAMES, filter_cfg=None), 8),
    (dict(metainfo=NAMES, filter_cfg={}), 8),
    (dict(metainfo=NAMES, filter_cfg=EMPTY), 5),  # 1, 2, 3, 5, 6
    (dict(metainfo=NAMES, filter_cfg=dict(filter_empty_gt=False, min_size=32)), 6),
    (dict(metainfo=NAMES, filter_cfg=dict(EMPTY, min_size=32)), 4),  # not 2, whose height is 31
    (dict(metainfo=NAMES, filter_cfg=dict(EMPTY, min_size=33)), 3),
    (dict(metainfo=NAMES, filter_cfg=dict(EMPTY, min_size=32), test_mode=True), 8),
    (dict(metainfo=dict(classes=['dog', 'unicorn']), filter_cfg=EMPTY), 3),
    (dict(metainfo=dict(classes=()), filter_cfg=EMPTY), 6),  # every category
    (dict(filter_cfg=EMPTY), 6),  # COCO's names: all four
    (dict(metainfo=dict(palette=[]), filter_cfg=EMPTY), 6),
    (dict(type='DeepFashionDataset', metainfo=dict(classes=('bird', 'cow')), filter_cfg=EMPTY), 1),
    (dict(metainfo=NAMES, filter_cfg=EMPTY, indices=2), 2),
    (dict(metainfo=NAMES, filter_cfg=EMPTY, indices=-7), 5),
    (dict(metainfo=NAMES, filter_cfg=EMPTY, indices=[0, 3, 3, 4]), 4),
])
def test_as_many_are_counted_as_the_data_set_holds(node, more, count):
    node.update(more)
    assert counted(node) == (count, count, None, '')
    settings = {key: value for key, value in node.items() if key != 'type'}
    assert len(getattr(datasets, node['type'])(**settings, pipeline=[])) == count


@pytest.mark.parametrize('change', [
    dict(images=[image(str(n)) for n in range(1, 9)], annotations=[
        thing(1, '1', 3), thing(2, '2', 5), thing(3, '8', 8), thing(4, '3', 3), thing(5, '5', 3),
        thing(6, '7', 3)]),
    dict(images=[image(n * 10**17) for n in range(1, 9)], annotations=[
        thing(n, n * 10**17, 3) for n in range(2, 7)]),
    # The last of two images with one id stands for them; an object may be on none.
    dict(images=[image(n) for n in (1, 2, 3, 4, 4, 5, 5, 6)], annotations=[
        thing(n, n, 5) for n in (1, 2, 4, 5, 6, 77)])])
def test_ids_of_every_kind(tmp_path, change):
    node = write(tmp_path, {**COCO, **change}, metainfo=NAMES, filter_cfg=EMPTY)
    assert counted(node)[:2] == (5, 5)
    settings = {key: value for key, value in node.items() if key != 'type'}
    assert len(datasets.CocoDataset(**settings, pipeline=[])) == 5


def test_many_objects_are_merged_as_they_come(tmp_path):
    # 150 000 objects on the even ones of 1000 images, a third of them cats: those of every sixth
    objects = [thing(n, 2 * n % 1000, 3 if 2 * n % 1000 % 6 == 0 else 8) for n in range(150_000)]
    node = write(tmp_path, dict(COCO, images=[image(n) for n in range(1000)], annotations=objects),
                 metainfo=dict(classes=['cat']), filter_cfg=EMPTY)
    assert counted(node)[:2] == (167, 167)  # 0, 6 ... 996


@pytest.mark.parametrize('more, why', [
    (dict(type='CityscapesDataset'), 'the rule of CityscapesDataset is not followed here'),
    (dict(type='MyDataset'), 'the rule of MyDataset is not followed here'),
    (dict(metainfo=dict(classes='names.txt')), 'its classes or its filter_cfg are given in a form'),
    (dict(filter_cfg=[1]), 'its classes or its filter_cfg are given in a form'),
    (dict(filter_cfg=dict(min_size='x')), "filter_cfg.min_size is 'x'")])
def test_the_list_is_a_bound_where_the_rule_is_not_followed(node, more, why):
    node.update(filter_cfg=EMPTY)
    node.update(more)
    images, samples, at_most, said = counted(node)
    assert (images, samples, at_most) == (None, None, 8) and why in said
    assert said.startswith(f'{node["ann_file"]} lists 8 images, and how many of them train '
                           'leaves out is not known (')
    assert counted(dict(node, indices=3))[2] == 3
    assert counted(dict(type='RepeatDataset', times=5, dataset=node))[2] == 40
    both = dict(type='ConcatDataset', datasets=[node, dict(node, type='CocoDataset',
                                                           filter_cfg=None)])
    assert counted(dict(type='MultiImageMixDataset', dataset=both))[:3] == (None, None, 16)
    for other in ('ClassBalancedDataset', 'MyWrapper'):  # may make more of them
        assert counted(dict(type=other, dataset=node))[:3] == (None, None, None)


@pytest.mark.parametrize('change, why', [
    (dict(images=[dict(id=1)]), 'an image in the file has no width and height'),
    (dict(images=[image([1])]), 'has no id of an image'),
    (dict(annotations=[dict(id=1, image_id=1)]), 'an annotation in the file has no category_id'),
    (dict(annotations=[thing(1, None, 3)]), 'has no id of an image')])
def test_a_file_that_lacks_a_field_is_a_bound(tmp_path, change, why):
    node = write(tmp_path, {**COCO, **change}, filter_cfg=EMPTY)
    images, samples, at_most, said = counted(node)
    assert (images, at_most) == (None, len({**COCO, **change}['images'])) and why in said


@pytest.mark.parametrize('text, why', [
    ('{"annotations": []}', 'it holds no list named images'),
    (json.dumps(COCO) + 'xxx', 'text follows its object'),
    (json.dumps(COCO)[:-1] + ', "images": []}', 'it has two lists named images'),
    (json.dumps(COCO)[:400], 'no JSON that could be read')])
def test_a_damaged_file_gives_no_number_and_is_opened_once(tmp_path, monkeypatch, text, why):
    node, opened = write(tmp_path, text, filter_cfg=EMPTY), []

    def opening(path, *args, **settings):
        opened.append(path)
        return open(path, *args, **settings)

    monkeypatch.setattr(json_lists, 'open', opening, raising=False)
    for _ in range(3):
        images, samples, at_most, said = counted(node)
        assert (images, samples, at_most) == (None, None, None) and why in said
    assert opened == [node['ann_file']]


def test_a_file_too_large_to_be_read_whole_is_a_bound(node, monkeypatch):
    monkeypatch.setattr(image_filter, 'MOST', 100)
    assert counted(dict(node, filter_cfg=EMPTY))[:3] == (None, None, 8)


def test_names_of_voc_are_a_bound_where_the_data_set_looks_into_each(tmp_path):
    (tmp_path / 'train.txt').write_text('1\n2\n3\n')
    voc = dict(type='VOCDataset', ann_file=str(tmp_path / 'train.txt'))
    assert counted(voc) == (3, 3, None, '')
    assert counted(dict(voc, filter_cfg=dict(EMPTY, min_size=32)))[:3] == (None, None, 3)


def test_a_class_that_filters_nothing_keeps_all(tmp_path):
    # mmengine's BaseDataset takes a filter_cfg, and leaves it to its children
    node = write(tmp_path, {'metainfo': {}, 'data_list': [{}, {}, {}]}, filter_cfg=EMPTY)
    assert counted(dict(node, type='BaseDetDataset')) == (3, 3, None, '')


def test_a_data_set_that_keeps_none_says_so(node):
    node.update(metainfo=dict(classes=('RBC', 'WBC', 'Platelets', 'x')), filter_cfg=EMPTY)
    assert counted(node) == (0, None, 8, (
        f'train leaves out all 8 images of {node["ann_file"]}: no category in the file is named '
        'RBC, WBC, Platelets or one of 1 more'))
    node['metainfo'] = dict(classes=['bird'])
    assert counted(node)[3].endswith('none is large enough and holds an object of its classes')
    node['filter_cfg'] = dict(min_size=49)
    assert counted(node)[3].endswith('none is as large as its filter_cfg asks')


def config(dataset, epochs=10):
    dataset['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='MinIoURandomCrop'),
                           dict(type='Resize', scale=(416, 416)), dict(type='PackDetInputs')]
    return Config(dict(
        model=dict(type='YOLOV3', data_preprocessor=dict(type='DetDataPreprocessor'),
                   backbone=dict(type='Darknet'), bbox_head=dict(type='YOLOV3Head', num_classes=1)),
        train_dataloader=dict(batch_size=8, dataset=dataset), default_scope='mmdet',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs)))


def test_the_run_is_that_of_the_images_that_are_kept(tmp_path):
    # 2000 images, 300 with an object: 38 batches of 8, ten times
    content = dict(images=[image(n, 640, 480) for n in range(2000)], annotations=[
        thing(n, n, 1) for n in range(300)], categories=[dict(id=1, name='a')])
    cfg = config(write(tmp_path, content, metainfo=dict(classes=('a',)),
                       filter_cfg=dict(EMPTY, min_size=32)))
    assert epoch_length(cfg.to_dict()) == (38, '') and not filters_images(cfg.to_dict())
    _, plan = tricks_plugin.apply_tricks(cfg, 'bag_of_freebies')
    assert (plan.run.images, plan.run.updates, plan.run.unknown) == (300, 380, ())
    assert plan.run.words().startswith(
        '300 images, 10 epochs, 380 updates, 8 images per update, 1 class, ')
    assert plan['mixup'].status == plan['random_shapes'].status == 'held_back'
    assert '380 updates (of 3000) and 300 images (of 1000)' in plan['mixup'].reason


def test_a_bound_is_no_number_and_holds_back_what_it_is_below(tmp_path):
    (tmp_path / 'train.txt').write_text('\n'.join(map(str, range(100))))
    dataset = dict(type='VOCDataset', ann_file=str(tmp_path / 'train.txt'), filter_cfg=EMPTY)
    cfg = config(dataset)
    assert epoch_length(cfg.to_dict()) == (13, '') and filters_images(cfg.to_dict())
    _, plan = tricks_plugin.apply_tricks(cfg, 'bag_of_freebies')
    assert plan.run.images is plan.run.updates is None
    assert plan.run.unknown == (
        f'the number of images is not known: {tmp_path}/train.txt lists 100 images, and how many '
        'of them train_dataloader.dataset leaves out is not known (the rule of VOCDataset is not '
        'followed here)',)
    # 13 batches of 8, ten times
    assert plan.run.updates_at_most == 130 and 'at most 130 updates, ' in plan.run.words()
    assert plan['mixup'].status == plan['random_shapes'].status == 'held_back'
    assert plan.run.images_at_most == 100 and plan.run.words().startswith('at most 100 images, ')
    assert plan['mixup'].reason.startswith(
        'at most 130 updates (of 3000) and at most 100 images (of 1000) are too few for mixup')
    cfg.train_cfg.max_epochs = 300  # at most 3900: nobody knows that they are fewer than 3000
    _, plan = tricks_plugin.apply_tricks(cfg, 'bag_of_freebies')
    assert plan['mixup'].reason.startswith('at most 100 images (of 1000) are too few for mixup')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=9, dataset=dataset)
    _, plan = tricks_plugin.apply_tricks(cfg, 'bag_of_freebies')
    assert (plan.run.images_at_most, plan.run.updates_at_most) == (100, 33900)  # 113 * 300
    none = run_facts(config(write(tmp_path, COCO, metainfo=dict(classes=['x']),
                                  filter_cfg=EMPTY)).to_dict())
    assert (none.images, none.updates) == (0, None) and none.unknown[0].startswith(
        'the length of an epoch is not known: train_dataloader.dataset leaves out all 8 images')
