"""What a wheel, an sdist and an editable install carry, and how an environment is set up."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'scripts'))

import check_env  # noqa: E402
import host  # noqa: E402
import setup_env  # noqa: E402

CARRIED = ('tricks_plugin', 'configs', 'tools', 'setup.py', 'pyproject.toml', 'MANIFEST.in',
           'LICENSE', 'README.md', 'CHANGELOG.md')


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of what the package is built from, so that building leaves nothing in the project."""
    target = tmp_path_factory.mktemp('tree')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in CARRIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    return target


def run(command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source, out):
    """Builds a wheel without network, and returns what it holds."""
    run([sys.executable, '-m', 'pip', 'wheel', str(source), '--no-deps', '--no-build-isolation',
         '--no-index', '--disable-pip-version-check', '-q', '-w', str(out)], cwd=out)
    wheel, = out.glob('tricks_plugin-*.whl')
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def run_hook(hook, tree, out):
    """Runs one of the build backend's hooks, as pip does."""
    run([sys.executable, '-c',
         f'from setuptools import build_meta as b; b.{hook}({str(out)!r})'], cwd=tree)


@pytest.fixture(scope='module')
def wheel_names(tree, tmp_path_factory):
    return build_wheel(tree, tmp_path_factory.mktemp('wheel'))


def files_under(folder):
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob('*')
            if path.is_file() and not {'__pycache__', '.mim'} & set(path.parts)}


@pytest.mark.slow
@pytest.mark.parametrize('folder', ['configs', 'tools'])
def test_wheel_carries_configs_and_tools(wheel_names, folder):
    expected = files_under(folder)
    if not expected:
        pytest.skip(f'no {folder} in this tree')
    assert {f'tricks_plugin/.mim/{name}' for name in expected} <= wheel_names


@pytest.mark.slow
def test_wheel_carries_the_recipes_and_the_trainer(wheel_names):
    for name in ('configs/recipes/bag_of_freebies.py', 'tools/train.py'):
        if not (ROOT / name).exists():
            pytest.skip(f'no {name} in this tree')
        assert f'tricks_plugin/.mim/{name}' in wheel_names


@pytest.mark.slow
def test_wheel_carries_every_module_and_the_rooms_readmes(wheel_names):
    expected = {name for name in files_under('tricks_plugin')
                if name.endswith(('.py', 'README.md', 'py.typed'))}
    assert 'tricks_plugin/py.typed' in expected
    assert expected <= wheel_names


@pytest.mark.slow
def test_wheel_holds_nothing_else(wheel_names):
    assert not [name for name in wheel_names if name.endswith('.pyc') or 'tests/' in name]
    assert {name.split('/')[0].split('-')[0] for name in wheel_names} == {'tricks_plugin'}


@pytest.mark.slow
def test_sdist_builds_the_same_wheel(tree, wheel_names, tmp_path):
    run_hook('build_sdist', tree, tmp_path)
    sdist, = tmp_path.glob('*.tar.gz')
    assert build_wheel(sdist, tmp_path) == wheel_names


@pytest.mark.slow
def test_editable_install_links_to_the_tree(tree, tmp_path):
    source = tmp_path / 'source'
    shutil.copytree(tree, source)
    (tmp_path / 'out').mkdir()
    run_hook('build_editable', source, tmp_path / 'out')
    linked = source / 'tricks_plugin/.mim/configs'
    assert linked.is_symlink()
    assert linked.resolve() == source / 'configs'
    # A wheel built from such a tree must not be led astray by the links.
    (tmp_path / 'wheel').mkdir()
    names = build_wheel(source, tmp_path / 'wheel')
    assert not [name for name in names if name.count('.mim') > 1]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['torchvision', 'mmengine', 'mmcv.ops', 'mmdet.models', 'timm'])
def test_a_trainer_that_does_not_load_fails_here_and_is_no_reason_to_skip(name):
    importlib.import_module(name)


def test_both_stacks_are_pinned_in_full():
    for stack in setup_env.STACKS:
        for name in (f'{stack}.lock', f'mmcv-{stack}.txt'):
            for line in (ROOT / 'requirements' / name).read_text().splitlines():
                assert '==' in line, f'{name}: {line}'


def test_wheel_key_tells_python_torch_mmcv_and_cuda_apart():
    keys = {setup_env.wheel_key(tag, torch, mmcv, cuda)
            for tag in ('cp310', 'cp311') for torch in ('2.1.2+cu121', '2.11.0+cu130')
            for mmcv in ('mmcv==2.1.0', 'onedl-mmcv==2.3.6') for cuda in (True, False)}
    assert len(keys) == 16
    assert (setup_env.wheel_key('cp311', '2.11.0', 'onedl-mmcv==2.3.6', False)
            == 'cp311-torch2.11.0-onedl-mmcv-2.3.6')


def test_uv_compiles_what_it_installs_and_pip_serves_where_it_fails(monkeypatch, tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin/uv').touch()
    commands = []

    def run(command, log, what):
        commands.append(command)
        if len(commands) == 2:
            raise host.SetupError('no such host')

    monkeypatch.setattr(setup_env, 'run', run)
    setup_env.install(tmp_path, 'installing', 'rich')
    setup_env.install(tmp_path, 'installing', 'rich')
    # pip compiles without being asked
    assert [Path(command[0]).name for command in commands] == ['uv', 'uv', 'python']
    assert ['--compile-bytecode' in command for command in commands] == [True, True, False]


def install_with(monkeypatch, root, torch):
    """Runs `install_mmcv` for a given torch; returns what was compiled and what was installed."""
    (root / 'requirements').mkdir(parents=True, exist_ok=True)
    (root / 'requirements/mmcv-main.txt').write_text('onedl-mmcv==2.3.6\n')
    compiled, installed = [], []

    def build(python, folder, mmcv, cuda):
        folder.mkdir(parents=True)
        (folder / 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl').touch()
        compiled.append(folder.name)

    monkeypatch.setattr(setup_env, 'ROOT', root)
    monkeypatch.setattr(setup_env, 'build_wheel', build)
    monkeypatch.setattr(setup_env, 'install', lambda *args: installed.append(Path(args[-1])))
    monkeypatch.setattr(setup_env, 'probe',
                        lambda *_: {'tag': 'cp311', 'torch': torch, 'cuda': False})
    setup_env.install_mmcv(root / '.venv', setup_env.STACKS['main'])
    return compiled, installed


def test_wheel_of_another_torch_is_never_taken(monkeypatch, tmp_path):
    compiled, installed = install_with(monkeypatch, tmp_path, '2.10.0')
    assert compiled == ['cp311-torch2.10.0-onedl-mmcv-2.3.6']
    compiled, installed = install_with(monkeypatch, tmp_path, '2.11.0')
    assert compiled == ['cp311-torch2.11.0-onedl-mmcv-2.3.6']
    assert installed[0].parent.name == compiled[0]


def test_wheel_of_the_same_torch_is_taken_again(monkeypatch, tmp_path):
    install_with(monkeypatch, tmp_path, '2.11.0')
    compiled, installed = install_with(monkeypatch, tmp_path, '2.11.0')
    assert compiled == []
    assert len(installed) == 1


def test_wheel_of_another_python_is_not_found(tmp_path):
    (tmp_path / 'onedl_mmcv-2.3.6-cp310-cp310-linux_x86_64.whl').touch()
    assert setup_env.find_wheel(tmp_path, 'cp310', 'onedl-mmcv==2.3.6') is not None
    assert setup_env.find_wheel(tmp_path, 'cp311', 'onedl-mmcv==2.3.6') is None
    assert setup_env.find_wheel(tmp_path, 'cp310', 'onedl-mmcv==2.3.5') is None


def test_failed_compilation_leaves_no_wheel(monkeypatch, tmp_path):
    folder = tmp_path / 'key'

    def die(command, log, what, env):
        Path(command[-1]).mkdir()
        (Path(command[-1]) / 'half.whl').touch()
        raise host.SetupError('killed')

    monkeypatch.setattr(setup_env, 'run', die)
    with pytest.raises(host.SetupError):
        setup_env.build_wheel(Path('python'), folder, 'mmcv==2.1.0', False)
    assert not folder.exists()

    def finish(command, log, what, env):
        assert len(list(tmp_path.glob('.building-*'))) == 1, 'an earlier failure was left lying'
        Path(command[-1]).mkdir()
        (Path(command[-1]) / 'mmcv-2.1.0-cp311-cp311-any.whl').touch()

    monkeypatch.setattr(setup_env, 'run', finish)
    setup_env.build_wheel(Path('python'), folder, 'mmcv==2.1.0', False)
    assert setup_env.find_wheel(folder, 'cp311', 'mmcv==2.1.0') is not None
    assert [path.name for path in tmp_path.iterdir()] == ['key']


def make_venv(folder):
    (folder / 'bin').mkdir(parents=True)
    (folder / 'bin/python').symlink_to(sys.executable)
    return folder


def test_only_a_finished_environment_in_its_place_is_trusted(tmp_path):
    stack = setup_env.STACKS['main']
    venv = make_venv(tmp_path / '.venv')
    assert setup_env.read_stamp(venv, stack, tmp_path) == ''
    (venv / setup_env.STAMP).write_text(f'{tmp_path}\nabc\n')
    assert setup_env.read_stamp(venv, stack, tmp_path) == 'abc'
    assert setup_env.read_stamp(venv, stack, tmp_path / 'moved') == ''
    (venv / 'bin/python').unlink()
    assert setup_env.read_stamp(venv, stack, tmp_path) == ''


def test_progress_is_read_from_ninja(tmp_path):
    log = tmp_path / 'log'
    log.write_text('running build_ext\n')
    assert setup_env.progress(log) == ''
    log.write_text('  [1/77] c++ a.cpp\n warning [9/9]\n  [12/77] c++ b.cpp\n')
    assert setup_env.progress(log) == ', 12/77 files compiled'


def test_run_reports_while_it_goes_on_and_why_it_failed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(setup_env, 'REPORT_EVERY', 0.2)
    code = 'import time; print("[3/7] c++", flush=True); time.sleep(1); raise SystemExit("no luck")'
    with pytest.raises(host.SetupError, match='compiling failed: no luck'):
        setup_env.run([sys.executable, '-c', code], tmp_path / 'log', 'compiling')
    assert re.search(r'compiling: \d+ s, 3/7 files compiled', capsys.readouterr().out)


@pytest.mark.parametrize(('text', 'words'), [
    ('ImportError: _ext.so: undefined symbol: _ZN3c10', 'another torch'),
    ('fatal error: Python.h: No such file or directory', 'python3-dev'),
    ('c++: fatal error: Killed signal terminated program cc1plus', 'MAX_JOBS=1'),
    ('OSError: [Errno 28] No space left on device', 'disk is full'),
    ("error: command '/usr/bin/g++' failed with exit code 1", 'compiler failed'),
    ('ImportError: libGL.so.1: cannot open shared object file', 'libgl1'),
    ('Temporary failure in name resolution', 'cannot be reached'),
    ("ModuleNotFoundError: No module named 'mmcv._ext'", 'without its compiled operators'),
    ('first\n  KeyError: 5\n\n', 'KeyError: 5'),
    ('', 'without a word'),
])
def test_errors_become_one_line(text, words):
    line = check_env.explain(text)
    assert words in line
    assert '\n' not in line


def test_missing_compiler_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(host.SetupError, match=r'no C\+\+ compiler found'):
        host.check_host(sys.executable, tmp_path, 0)


def test_full_disk_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(host, 'probe', lambda *_: {'venv': True, 'headers': True})
    with pytest.raises(host.SetupError, match='GB needed'):
        host.check_host(sys.executable, tmp_path, 1e9)


@pytest.mark.parametrize(('facts', 'words'), [
    ({'venv': False, 'headers': True}, 'python3-venv'),
    ({'venv': True, 'headers': False}, 'python3-dev'),
])
def test_incomplete_python_is_said_at_once(monkeypatch, tmp_path, facts, words):
    monkeypatch.setattr(host, 'probe', lambda *_: facts)
    with pytest.raises(host.SetupError, match=words):
        host.check_host(sys.executable, tmp_path, 0)


def test_python_that_suits_is_found_on_path(monkeypatch, tmp_path):
    monkeypatch.setattr(host, 'version_of', lambda name: '3.11' if name == 'python3.11' else '')
    assert host.choose_python('openmmlab', ('3.10', '3.11')) == 'python3.11'
    monkeypatch.setattr(host, 'version_of', lambda name: '3.12')
    with pytest.raises(host.SetupError, match='install Python 3.11'):
        host.choose_python('openmmlab', ('3.10', '3.11'))


def test_command_that_is_there_but_does_not_run_is_no_python(monkeypatch, tmp_path):
    shim = tmp_path / 'python3.11'
    shim.write_text('#!/bin/sh\nexit 127\n')
    shim.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    assert host.version_of('python3.11') == ''
    assert host.version_of('no-such-python') == ''
    assert host.version_of(sys.executable) == '{}.{}'.format(*sys.version_info)
