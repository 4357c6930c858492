"""What identifies a run: the content of files and no path of the machine."""

import pytest

from tricks_plugin.ablate.identity import code_digest, digest, folder_digest, portable


def settings(root, **more):
    return {'train_dataloader': {'dataset': {'data_root': str(root), 'ann_file': 'train.json',
                                             'data_prefix': {'img': 'images/'}}},
            'load_from': str(root / 'weights.pth'), 'work_dir': str(root), 'lr': 0.1, **more}


def make(folder, annotations='{}', weights=b'w'):
    (folder / 'images').mkdir(parents=True)
    (folder / 'train.json').write_text(annotations)
    (folder / 'weights.pth').write_bytes(weights)
    return folder


def test_the_same_files_elsewhere_are_the_same_run(tmp_path):
    first, second = make(tmp_path / 'a'), make(tmp_path / 'b' / 'c')
    assert digest(portable(settings(first))) == digest(portable(settings(second)))
    text = str(portable(settings(first)))
    assert str(tmp_path) not in text and "'lr': 0.1" in text


def test_other_content_or_settings_are_another_run(tmp_path):
    known = digest(portable(settings(make(tmp_path / 'a'))))
    assert known != digest(portable(settings(make(tmp_path / 'b', annotations='[]'))))
    assert known != digest(portable(settings(make(tmp_path / 'c', weights=b'v'))))
    assert known != digest(portable(settings(tmp_path / 'a', lr=0.2)))
    assert known == digest(portable(settings(tmp_path / 'a')))


@pytest.mark.parametrize('name', ['one.jpg', 'deeper/one.PNG', 'deeper/boxes.xml'])
def test_other_images_are_another_run(tmp_path, name):
    def known(folder, size):
        file = make(folder) / 'images' / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b'x' * size)
        (folder / 'images' / 'cache.npy').write_bytes(b'y' * size)  # no image
        return digest(portable(settings(folder)))
    assert known(tmp_path / 'a', 3) == known(tmp_path / 'b', 3) != known(tmp_path / 'c', 4)
    assert known(tmp_path / 'd', 3) != digest(portable(settings(make(tmp_path / 'e'))))


def test_a_link_that_is_broken_is_a_file_without_a_size(tmp_path):
    folder = make(tmp_path / 'a')
    known = portable(settings(folder))
    (folder / 'images' / 'one.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    folder_digest.cache_clear()
    assert portable(settings(folder)) != known


def test_the_images_of_class_folders_are_known_without_annotations(tmp_path):
    def known(folder, size, **more):
        (folder / 'train' / 'cat').mkdir(parents=True)
        (folder / 'train' / 'cat' / 'one.jpg').write_bytes(b'x' * size)
        return portable({'data_root': str(folder), 'dataset': {
            'type': 'CustomDataset', 'data_root': str(folder), **more}})
    first = known(tmp_path / 'a', 3, data_prefix='train')
    assert list(first['dataset']['images']) == [''] and 'images' not in first
    assert first == known(tmp_path / 'b', 3, data_prefix='train')
    assert first != known(tmp_path / 'c', 4, data_prefix='train')
    assert known(tmp_path / 'd', 3) != known(tmp_path / 'e', 4)
    assert known(tmp_path / 'f', 3, data_prefix='elsewhere')['dataset'] == {
        'type': 'CustomDataset', 'data_prefix': 'elsewhere'}


def test_the_codes_digest_is_short_and_stays():
    assert code_digest() == code_digest() and len(code_digest()) == 16


def test_the_code_that_decides_results_decides_the_digest(tmp_path, monkeypatch):
    package = tmp_path / 'tricks_plugin'
    names = ('ablate/identity.py', 'ablate/mm_run.py', 'ablate/report/words.py', 'cli/plan.py',
             'tricks/ema/mm.py')
    for name in names:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text('x = 1\n')
    monkeypatch.setattr('tricks_plugin.ablate.identity.__file__', str(package / names[0]))

    def now():
        code_digest.cache_clear()
        return code_digest()
    first = now()
    for name, decides in zip(names, (False, True, False, False, True), strict=True):
        (package / name).write_text('x = 2\n')
        assert (now() != first) is decides, name
        (package / name).write_text('x = 1\n')
    code_digest.cache_clear()
