"""What identifies a run: the content of files and no path of the machine."""

from tricks_plugin.ablate.identity import code_digest, digest, portable


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


def test_the_codes_digest_is_short_and_stays():
    assert code_digest() == code_digest() and len(code_digest()) == 16
