"""The images of a set whose annotations are too large for a plan, and files below folders."""

from __future__ import annotations

import json

import pytest

from tricks_plugin.tricks.data_cache.images import image_list
from tricks_plugin.tricks.data_cache.walks import files_below

pytestmark = pytest.mark.slow


@pytest.fixture()
def root(tmp_path):
    """Images in sub-folders, other files beside them, large annotation files and a small one."""
    for name in ('train2017/a.jpg', 'train2017/deep/b.JPG', 'val2017/c.png', 'val2017/notes.txt'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'images' / name).write_bytes(b'x')
    for name, images, more in (('large', [], 900), ('other', [], 900), ('small', ['c'], 0)):
        (tmp_path / f'{name}.json').write_text(json.dumps(dict(
            images=[dict(id=1, file_name=f'val2017/{one}.png', width=9, height=9)
                    for one in images], annotations=[],
            categories=[dict(id=1, name='x' * (1 + more))])))
    return tmp_path


def dataset(root, annotations):
    return dict(type='mmdet.CocoDataset', data_root=str(root), ann_file=f'{annotations}.json',
                data_prefix=dict(img='images/'), test_mode=True)


def test_large_annotations_are_counted_by_the_images_below_the_folder_each_once(root):
    for second in ('other', 'small'):
        found = image_list(dict(
            default_scope='mmdet', train_dataloader=dict(dataset=dataset(root, 'large')),
            val_dataloader=dict(dataset=dataset(root, second))), largest=800)
        assert sorted(found) == [str(root / 'images' / name) for name in (
            'train2017/a.jpg', 'train2017/deep/b.JPG', 'val2017/c.png')]


def test_links_are_followed_but_not_round_and_time_may_end(root):
    (root / 'images' / 'train2017' / 'up').symlink_to(root / 'images')
    (root / 'elsewhere').mkdir()
    (root / 'elsewhere' / 'd.jpg').write_bytes(b'x')
    (root / 'images' / 'link').symlink_to(root / 'elsewhere')
    found = files_below(root / 'images', ('.jpg', '.png'))
    assert [path.rpartition('/')[2] for path in found] == ['d.jpg', 'a.jpg', 'b.JPG', 'c.png']
    assert files_below(root / 'images', ('.jpg',), seconds=-1) is None
    assert files_below(root / 'none', ('.jpg',)) == []
