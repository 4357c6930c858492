"""What a train.py knows, read from its text or its release."""

import importlib.metadata

import pytest

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.script import find_script, parse_release, read_script

OLD_SCRIPT = '''
import argparse
raise RuntimeError('the script was run, and must only be read')
config_parser = parser = argparse.ArgumentParser(add_help=False)
parser.add_argument('-c', '--config', default='')
parser = argparse.ArgumentParser()
group = parser.add_argument_group('a group')
parser.add_argument('data', nargs='?')
group.add_argument('-b', '--batch-size', type=int, default=128)
group.add_argument('--decay-rate', '--dr', type=float, default=0.1)
group.add_argument('--no-jit', dest='jit', action='store_false')
group.add_argument("--local_rank", default=0, type=int)
# group.add_argument('--train-img-sizes')
'''


@pytest.fixture
def old_script(tmp_path):
    path = tmp_path / 'train.py'
    path.write_text(OLD_SCRIPT)
    return path


def test_flags_are_read_from_the_text_without_running_it(old_script):
    script = read_script(old_script)
    assert script.flags == {'config', 'data', 'batch_size', 'decay_rate', 'jit', 'local_rank'}
    assert script.knows('batch_size')
    assert not script.knows('train_img_sizes')  # in a comment only
    assert not script.knows('no_jit')  # stored under another name


@pytest.mark.parametrize('key, before, since', [
    ('torchcompile_mode', '1.0.9', '1.0.10'),
    ('wandb_tags', '1.0.11', '1.0.12'),
    ('model_dtype', '1.0.12', '1.0.13'),
    ('layer_decay_min_scale', '1.0.16', '1.0.17'),
    ('val_interval', '1.0.22', '1.0.23'),
    ('train_img_sizes', '1.0.28', '1.0.29'),
    ('train_img_sizes', '1.0.29.dev0', '1.0.30'),
])
def test_a_flag_is_known_from_the_release_that_brought_it(key, before, since):
    assert not find_script(version=before).knows(key)
    assert find_script(version=since).knows(key)
    assert find_script(version='1.0.31').knows(key)


def test_flags_of_the_first_release_are_known_to_all():
    for version in ('1.0.3', '1.0.12', '1.0.31', '1.2.0'):
        assert find_script(version=version).knows('sched_on_updates')


def test_warmup_prefix_counts_from_1_0_12_on(old_script):
    assert not find_script(version='1.0.11').prefix_counts
    assert find_script(version='1.0.12').prefix_counts
    assert not find_script(str(old_script)).prefix_counts
    with old_script.open('a') as stream:
        stream.write("group.add_argument('--wandb-tags', nargs='+')\n")
    assert find_script(str(old_script)).prefix_counts


def test_versions_sort_by_number_and_development_versions_before_the_release():
    assert parse_release('1.0.9') < parse_release('v1.0.10') < parse_release('1.1.0')
    assert parse_release('1.0.28') < parse_release('1.0.29.dev0') < parse_release('1.0.29')
    assert parse_release('1.0.12+local.1') == parse_release('1.0.12') == (1, 0, 12, 0)
    assert parse_release('1.0.12.post1') == (1, 0, 12, 0)


@pytest.mark.parametrize('version', ['newest', '1.0', '1.0.x', ''])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(TrickError, match='--timm-version must be a release such as 1.0.12'):
        find_script(version=version)


def test_releases_before_1_0_3_are_refused():
    with pytest.raises(TrickError, match=r"1\.0\.3, the first release.*got '0\.9\.16'"):
        find_script(version='0.9.16')


def test_without_a_choice_the_installed_release_counts(monkeypatch):
    monkeypatch.setattr(importlib.metadata, 'version', lambda name: {'timm': '1.0.12'}[name])
    assert find_script().label == 'timm 1.0.12'
    assert not find_script().knows('train_img_sizes')


def test_without_timm_the_message_says_what_to_give(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)
    monkeypatch.setattr(importlib.metadata, 'version', missing)
    with pytest.raises(TrickError, match='timm is not installed.*--script.*--timm-version'):
        find_script()
    assert find_script(version='1.0.29').knows('train_img_sizes')


@pytest.mark.parametrize('text, message', [
    ('def broken(:\n', 'must be a Python file'),
    ('null\0byte', 'must be a Python file'),
    ('print("hello")\n', 'which has 0 flags and no --config'),
    ("parser.add_argument('--epochs')\nparser.add_argument('--lr')\n", '2 flags and no --config'),
])
def test_a_file_that_is_no_train_py_is_refused(tmp_path, text, message):
    path = tmp_path / 'other.py'
    path.write_text(text)
    with pytest.raises(TrickError, match=message) as caught:
        read_script(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_script_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / 'train.py', tmp_path):
        with pytest.raises(TrickError, match='--script must be a readable train.py, got'):
            read_script(path)


def test_a_key_that_is_no_setting_is_known_to_no_release():
    assert not find_script(version='1.0.31').knows('mixup_aplha')
