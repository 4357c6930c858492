"""`tricks cache`: what it shows, fills and drops, and its one-line errors."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tricks_plugin.cli import main

pytestmark = pytest.mark.slow

CONFIG = """
train_dataloader = dict(dataset=dict(
    type='CocoDataset', data_root={root!r}, ann_file='train.json', data_prefix=dict(img='images/'),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]))
"""


@pytest.fixture()
def config(tmp_path):
    """A config of eight images of 30 by 40 pixels."""
    from PIL import Image
    (tmp_path / 'images').mkdir()
    rng, images = np.random.default_rng(0), []
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(
            tmp_path / 'images' / f'{number}.png')
        images.append(dict(id=number, file_name=f'{number}.png', height=30, width=40))
    boxes = [dict(id=number, image_id=number, category_id=1, bbox=[1, 1, 9, 9], area=81, iscrowd=0)
             for number in range(8)]
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=boxes, categories=[dict(id=1, name='person')])))
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=str(tmp_path)))
    return str(path)


@pytest.fixture()
def folder():
    """A path for a cache."""
    root = tempfile.mkdtemp(dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None)
    yield str(Path(root) / 'cache')
    shutil.rmtree(root)


def told(capsys, *words):
    assert main(['cache', *words, '--json']) == 0
    return json.loads(capsys.readouterr().out)


def test_show_fill_and_clear(config, folder, capsys):
    place = ['--folder', folder, '--budget-mb', '5']
    shown = told(capsys, config, *place, '--level', 'decoded')
    assert (shown['files'], shown['decoded'], shown['share']) == (8, 8 * 4096, 1.0)
    assert shown['encoded'] == 4096 * sum(
        -(-(path.stat().st_size + 128) // 4096) for path in Path(config).parent.glob(
            'images/*.png'))
    assert (shown['entries'], shown['budget']) == (0, 5_000_000)
    assert not Path(folder).exists()
    filled = told(capsys, config, *place, '--level', 'decoded', '--fill')
    assert (filled['read'], filled['failed'], filled['entries']) == (8, 0, 8)
    assert filled['bytes'] == 8 * 4096
    # The other level is entries of its own, in the same folder.
    assert told(capsys, config, *place, '--level', 'encoded', '--fill')['entries'] == 16
    assert told(capsys, '--folder', folder)['entries'] == 16
    assert told(capsys, '--folder', folder, '--clear')['dropped'] == 16
    assert main(['cache', '--folder', folder]) == 0
    assert capsys.readouterr().out == f'{folder} holds 0 entries, 0 MB of 5 MB\n'


def test_showing_makes_drops_and_sets_nothing(config, folder, capsys):
    from tricks_plugin.tricks.data_cache.store import Store
    store = Store(folder, 3 * 10 ** 6)
    for digit in '13579':
        assert store.put(digit * 32, bytes(16), bytes(500_000))
    os.chmod(folder, 0o755)

    def files():
        return {path: (path.stat().st_mtime_ns, path.stat().st_mode, path.is_dir()
                       or path.read_bytes()) for path in (Path(folder), *Path(folder).rglob('*'))}

    before = files()
    shown = told(capsys, config, '--folder', folder, '--budget-mb', '1', '--show')
    assert (shown['entries'], shown['budget']) == (5, 10 ** 6)
    assert told(capsys, '--folder', folder, '--budget-mb', '2')['budget'] == 2 * 10 ** 6
    assert told(capsys, '--folder', folder)['budget'] == 3 * 10 ** 6
    assert files() == before


def test_filling_stops_where_nothing_more_fits(config, folder, capsys, monkeypatch):
    monkeypatch.setattr('tricks_plugin.tricks.data_cache.filling._CHUNK', 1)
    from tricks_plugin.tricks.data_cache.store import Store
    Store(folder, 3 * 4096)
    filled = told(capsys, config, '--folder', folder, '--level', 'decoded', '--fill')
    assert filled['entries'] == 3 and filled['read'] == 4 and filled['files'] == 8
    assert 0 < filled['fits'] < 1


@pytest.mark.parametrize(('budget', 'kept'), [(29_000, 7), (8 * 4096 - 1, 7), (8 * 4096, 8)])
def test_what_is_said_to_fit_is_what_filling_keeps(config, folder, capsys, budget, kept):
    # 3600 bytes of pixels each, 28 800 in all; an entry has a header and takes a whole page.
    from tricks_plugin.tricks.data_cache.store import Store
    Store(folder, budget)
    shown = told(capsys, config, '--folder', folder, '--level', 'decoded')
    assert int(8 * shown['share']) == kept
    assert told(capsys, config, '--folder', folder, '--level', 'decoded',
                '--fill')['entries'] == kept


def test_a_damaged_image_is_told_and_the_others_are_kept(config, folder, capsys):
    (Path(config).parent / 'images' / '5.png').write_bytes(b'no image')
    assert main(['cache', config, '--folder', folder, '--level', 'decoded', '--fill']) == 0
    out = capsys.readouterr().out
    assert out.startswith('read 8 of 8 images; 1 could not be read, the first: ')
    assert '5.png: AssertionError: failed to load image' in out
    assert f'{folder} holds 7 entries' in out


@pytest.mark.parametrize(('words', 'message'), [
    (['--fill'], '--fill needs a config, got none'),
    (['--budget-mb', '0'], '--budget-mb must be >= 1, got 0'),
    (['none.py'], 'cannot read config none.py'),
    (['--folder', '/proc/none', '--clear'], 'the cache cannot be used: '),
    (['--folder', '/usr'], 'the cache cannot be used: /usr ')])
def test_wrong_words_are_one_line(words, message, capsys):
    assert main(['cache', *words]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count('\n') == 1


def test_a_config_that_has_its_cache_takes_no_other_settings(config, folder, capsys):
    options = ['--tricks', 'data_cache', '--cfg-options', f'tricks.data_cache.folder={folder}']
    assert told(capsys, config, *options)['folder'] == folder
    assert main(['cache', config, *options, '--level', 'encoded']) == 2
    assert 'has its cache already: leave --level out' in capsys.readouterr().err


def test_missing_annotations_are_named(config, folder, capsys):
    (Path(config).parent / 'train.json').unlink()
    assert main(['cache', config, '--folder', folder]) == 2
    assert 'train.json is not here' in capsys.readouterr().err
