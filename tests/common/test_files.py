"""A file is the old one or the new one, and never half of either."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from tricks_plugin.common.files import write_json, write_text
from tricks_plugin.common.processes import world_size


def test_a_text_replaces_the_old_one_and_makes_its_folder(tmp_path):
    path = tmp_path / 'new' / 'note.txt'
    write_text(path, 'first')
    write_text(path, 'zweitens: ä')
    assert path.read_text(encoding='utf-8') == 'zweitens: ä'
    assert os.listdir(path.parent) == ['note.txt']


def test_a_write_that_fails_leaves_the_old_text_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / 'note.txt'
    write_text(path, 'old')
    real = pathlib.Path.write_bytes

    def dies(self, data):
        real(self, data[:3])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(pathlib.Path, 'write_bytes', dies)
    with pytest.raises(OSError, match='No space left'):
        write_text(path, 'a longer new text')
    assert path.read_text(encoding='utf-8') == 'old'
    assert os.listdir(tmp_path) == ['note.txt']


def test_json_is_readable_and_holds_unknown_objects_as_their_text(tmp_path):
    write_json(tmp_path / 'value.json', {'path': pathlib.PurePosixPath('a/b'), 'n': [1, 2.5]})
    assert json.loads((tmp_path / 'value.json').read_text()) == {'path': 'a/b', 'n': [1, 2.5]}


@pytest.mark.parametrize('launcher, environment, expected', [
    (None, {'WORLD_SIZE': '4'}, 1), ('none', {'WORLD_SIZE': '4'}, 1),
    ('pytorch', {'WORLD_SIZE': '4', 'SLURM_NTASKS': '8'}, 4), ('slurm', {'SLURM_NTASKS': '8'}, 8),
    ('mpi', {'OMPI_COMM_WORLD_SIZE': '3'}, 3), ('pytorch', {}, 1),
    ('pytorch', {'WORLD_SIZE': ''}, 1),
    ('any', {'SLURM_NTASKS': '8'}, 8), ('any', {'WORLD_SIZE': '2', 'SLURM_NTASKS': '8'}, 2),
    ('pytorch', {'WORLD_SIZE': 'many'}, 1), (['pytorch'], {'WORLD_SIZE': '4'}, 1),
])
def test_processes_are_counted_from_the_launchers_own_variable(
        monkeypatch, launcher, environment, expected):
    for name in ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert world_size(launcher) == expected
