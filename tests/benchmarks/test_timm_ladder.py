"""The ladder's arithmetic, its images, and its runs with a stand-in for the trainer."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tricks_plugin.plan.errors import TrickError

ROOT = Path(__file__).resolve().parents[2]
TRAINER = '''
import json, pathlib, sys
given = sys.argv
def value(flag, default=None):
    return given[given.index(flag) + 1] if flag in given else default
folder = pathlib.Path(value('--output')) / value('--experiment')
folder.mkdir(parents=True)
with (folder.parents[2] / 'calls.txt').open('a') as file:
    print(value('--experiment'), value('--seed'), file=file)
epochs = int(value('--epochs'))
epochs += '--warmup-prefix' in given and int(value('--warmup-epochs'))
if '--break' in given and value('--experiment') == 'label_smoothing':
    print('the reason')
    sys.exit(3)
epochs -= '--short' in given
top1 = 50 + 2 * int(value('--seed')) + len(value('--experiment'))
(folder / 'summary.csv').write_text(
    'epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\\n'
    f'0,2.5,2.5,10,50,0.1\\n{epochs - 1},0.25,1.75,{top1},90,0.0\\n')
if '--dead' in given:
    evidence = [dict(name='step_decay', live=False, measured='LR stood still')]
if '--alive' in given:
    evidence = [dict(name=name, live=True, measured=f'{name} seen')
                for name in value('--tricks').split(',') if name != 'mixup']
if '--dead' in given or '--alive' in given:
    (folder / 'tricks_evidence.json').write_text(json.dumps({'tricks': evidence}))
'''


@pytest.fixture(scope='module')
def kit() -> Iterator[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        yield importlib.import_module('timm_ladder_kit')


@pytest.fixture(scope='module')
def ladder(kit):
    return importlib.import_module('timm_ladder')


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Train and val with classes a (6, 4 images) and b (5, 4); each file's bytes tell which."""
    for split, counts in (('train', {'a': 6, 'b': 5}), ('val', {'a': 4, 'b': 4})):
        for label, count in counts.items():
            for number in range(count):
                path = tmp_path / 'images' / split / label / f'{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f'{split} {label} {number}')
    (tmp_path / 'images' / 'train' / 'a' / 'notes.txt').write_text('no image')
    return tmp_path / 'images'


@pytest.fixture()
def trainer(tmp_path: Path) -> Path:
    path = tmp_path / 'trainer.py'
    path.write_text(TRAINER)
    return path


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


def test_the_interval_uses_students_quantile(kit):
    # Mean 4; squares 4 + 1 + 9 = 14; variance 7; half width 4.303 * sqrt(7 / 3) = 6.573.
    assert kit.interval([2.0, 3.0, 7.0]) == pytest.approx({'mean': 4.0, 'half': 6.573}, abs=2e-3)
    # Squares about 3: 4 + 1 + 0 + 1 + 4 = 10; variance 2.5; 2.776 * sqrt(2.5 / 5) = 1.963.
    assert kit.interval([1.0, 2.0, 3.0, 4.0, 5.0])['half'] == pytest.approx(1.963, abs=1e-3)
    assert kit.interval([61.5]) == {'mean': 61.5, 'half': None}


def results(**top1: list[float]) -> dict[tuple[str, int], dict[str, float]]:
    return {(name, seed): dict(top1=value, train_loss=0.5, eval_loss=1.5, seconds=90.0)
            for name, values in top1.items() for seed, value in enumerate(values)}


def test_differences_are_paired_by_seed(kit):
    # The seeds differ by up to 10 points, the pairs hardly: 1, 1, 4 (mean 2, variance 3, and
    # 4.303 * sqrt(3 / 3)) against the rung before, 3, 1, 5 against the first (variance 4).
    summary = kit.summarise(['p', 'q', 'r'], results(
        p=[50.0, 60.0, 55.0], q=[52.0, 60.0, 56.0], r=[53.0, 61.0, 60.0]))
    assert summary['seeds'] == [0, 1, 2]
    first, _, last = summary['rungs']
    assert 'previous' not in first and 'first' not in first
    assert last['previous']['mean'] == pytest.approx(2.0)
    assert last['previous']['half'] == pytest.approx(4.303, abs=1e-3)
    assert last['first']['mean'] == pytest.approx(3.0)
    assert last['first']['half'] == pytest.approx(4.303 * (4 / 3) ** 0.5, abs=2e-3)


def test_a_seed_that_lacks_a_rung_is_left_out_whole(kit):
    runs = results(p=[50.0, 60.0], q=[52.0, 99.0])
    del runs['p', 1]
    rows = kit.summarise(['p', 'q'], runs)['rungs']
    assert rows[1]['values'] == [52.0]


def test_the_table_shows_means_half_widths_and_signs(kit):
    summary = kit.summarise(['p', 'q'], results(p=[50.0, 60.0, 55.0], q=[49.0, 59.0, 51.0]))
    # p: variance 25, 4.303 * 5 / sqrt(3) = 12.42; the pairs -1, -1, -4: -2, 4.30.
    lines = kit.markdown(summary, {'p': 'plain', 'q': '+ q'}).splitlines()
    assert lines[2] == '| plain | 55.00 ± 12.42 |  |  | 0.500 | 1.500 | 1.5 |'
    assert lines[3].split(' | ')[2:4] == ['-2.00 ± 4.30', '-2.00 ± 4.30']


@pytest.mark.parametrize('packed', [False, True])
def test_a_subset_has_the_same_number_of_each_class_and_the_right_bytes(
        kit, folder, tmp_path, packed):
    if packed:
        for split in ('train', 'val'):
            with tarfile.open(folder / f'{split}.tar', 'w') as tar:
                tar.add(folder / split, arcname='.')
    train, val = kit.find_splits(str(folder), None)
    assert train.suffix == ('.tar' if packed else '')
    made, classes = kit.prepare(train, val, 3, 0, tmp_path / 'out')
    assert classes == 2 and made.name.startswith('data-6-8-')
    images = contents(made / 'train.tar')
    assert sorted(images) == [f'{label}/00000{number}.png' for label in 'ab' for number in range(3)]
    assert all(text.startswith(f'train {name[0]} ') for name, text in images.items())
    assert len(set(images.values())) == 6
    assert sorted(contents(made / 'val.tar').values()) == [
        f'val {label} {number}' for label in 'ab' for number in range(4)]


def test_a_subset_is_made_once_and_leaves_no_draft(kit, folder, tmp_path):
    places = (folder / 'train', folder / 'val')
    first, _ = kit.prepare(*places, 3, 2, tmp_path / 'out')
    before = (first / 'train.tar').stat().st_mtime_ns
    again, _ = kit.prepare(*places, 3, 2, tmp_path / 'out')
    other, _ = kit.prepare(*places, 4, 2, tmp_path / 'out')
    assert again == first and (first / 'train.tar').stat().st_mtime_ns == before
    assert other != first
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {first.name, other.name}


def test_too_few_images_and_other_classes_are_refused(kit, folder, tmp_path):
    with pytest.raises(TrickError, match="class 'b' has 5 images, fewer than the 6 asked for"):
        kit.prepare(folder / 'train', folder / 'val', 6, 0, tmp_path / 'out')
    (folder / 'val' / 'b').rename(folder / 'val' / 'c')
    with pytest.raises(TrickError, match="other classes: 'b' is in one of them only"):
        kit.prepare(folder / 'train', folder / 'val', 0, 0, tmp_path / 'out')


def test_images_without_class_folders_and_broken_tars_are_refused(kit, tmp_path):
    (tmp_path / 'flat').mkdir()
    (tmp_path / 'flat' / '1.png').write_text('x')
    with pytest.raises(TrickError, match='holds no images .* in class folders'):
        kit.Images(tmp_path / 'flat')
    (tmp_path / 'broken.tar').write_text('no tar at all')
    with pytest.raises(TrickError, match='broken.tar is no tar that can be read'):
        kit.Images(tmp_path / 'broken.tar')


def test_paths_that_are_not_there_are_refused(kit, folder, tmp_path):
    with pytest.raises(TrickError, match='DATA .*nowhere is not there'):
        kit.find_splits(str(tmp_path / 'nowhere'), None)
    with pytest.raises(TrickError, match='--val .*nowhere is not there'):
        kit.find_splits(str(folder / 'train'), str(tmp_path / 'nowhere'))
    with pytest.raises(TrickError, match=r'must hold train.tar or a folder train/'):
        kit.find_splits(str(tmp_path), None)
    (tmp_path / 'train.tar').write_text('')
    with pytest.raises(TrickError, match='give the others by --val'):
        kit.find_splits(str(tmp_path / 'train.tar'), None)


def test_each_rung_adds_one_trick_to_the_one_before(ladder):
    args = ladder.parse(['x', '--epochs', '40', '--warmup-epochs', '2'])
    flags = [' '.join(ladder.rung_flags(number, args, 10)) for number in range(5)]
    every = '--opt-kwargs filter_bias_and_bn=False'
    warmup = 'cosine_warmup.warmup_epochs=2'
    assert flags[0] == f'--tricks step_decay --epochs 40 {every} --smoothing 0'
    assert flags[1] == (f'--tricks cosine_warmup --epochs 40 --trick-options {warmup} {every} '
                        '--smoothing 0')
    assert flags[2] == (f'--tricks cosine_warmup,no_bias_decay --epochs 40 --trick-options '
                        f'{warmup} --smoothing 0')
    assert flags[4] == (
        '--tricks cosine_warmup,no_bias_decay,label_smoothing,mixup --epochs 40 --trick-options '
        f'{warmup} label_smoothing.eps=0.1 label_smoothing.variant=he mixup.alpha=0.2')


def test_timms_own_script_gets_the_same_rungs_as_plain_flags(ladder, trainer):
    args = ladder.parse(['x', '--epochs', '40', '--warmup-epochs', '2', '--trainer', str(trainer)])
    flags = [ladder.rung_flags(number, args, 10) for number in range(5)]
    assert ' '.join(flags[0]).startswith(
        '--sched multistep --decay-milestones 13 25 37 --decay-rate 0.1 --warmup-epochs 0 ')
    assert ' '.join(flags[1]).startswith(
        '--sched cosine --sched-on-updates --warmup-lr 0 --warmup-prefix --warmup-epochs 2 '
        '--epochs 38 ')
    # He's 0.1 / 9 for each other class is timm's s / 10: s = 1 / 9.
    assert float(flags[3][flags[3].index('--smoothing') + 1]) == pytest.approx(1 / 9, abs=1e-12)
    assert '--mixup' not in flags[3] and flags[4][-2:] == ['--mixup', '0.2']


def climb(ladder, folder: Path, trainer: Path, *more: str) -> tuple[int, str]:
    """Runs the ladder; exit status and what it wrote to stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        code = ladder.main([
            str(folder), '--trainer', str(trainer), '--out', str(folder.parent / 'out'), '--epochs',
            '10', '--images-per-class', '3', '--jobs', '3', '--seeds', '2', *more])
    return code, errors.getvalue()


@pytest.mark.slow
def test_a_ladder_resumes_at_the_run_that_was_killed(ladder, folder, trainer):
    out = folder.parent / 'out'
    assert climb(ladder, folder, trainer) == (0, '')
    calls = out / 'calls.txt'
    expected = {f'{rung} {seed}' for rung in ladder.RUNGS for seed in (0, 1)}
    assert sorted(calls.read_text().splitlines()) == sorted(expected)
    found = json.loads((out / 'ladder.json').read_text())
    assert found['seeds'] == [0, 1] and len(found['runs']) == 10
    # The stand-in's top-1 is 50 + twice the seed + the letters of the rung's name.
    assert [row['top1']['mean'] for row in found['rungs']] == [61.0, 64.0, 64.0, 66.0, 56.0]
    assert found['rungs'][1]['previous'] == {'mean': 3.0, 'half': 0.0}
    assert (out / 'ladder.png').read_bytes().startswith(b'\x89PNG')

    calls.unlink()
    (out / 'runs' / 'seed1' / 'mixup' / 'done.json').unlink()
    assert climb(ladder, folder, trainer) == (0, '')
    assert calls.read_text() == 'mixup 1\n'

    (out / 'runs' / 'seed1' / 'mixup' / 'done.json').unlink()
    assert ladder.main(['--report-only', '--out', str(out)]) == 0
    assert json.loads((out / 'ladder.json').read_text())['seeds'] == [0]
    with pytest.raises(TrickError, match='has no seed whose 5 rungs are all finished'):
        ladder.main(['--report-only', '--out', str(folder)])


def test_a_failed_run_shows_its_log_and_ends_the_ladder(ladder, folder, trainer):
    code, errors = climb(ladder, folder, trainer, '--trainer-flags', '--break')
    assert code == 1
    assert 'label_smoothing, seed 0: exit status 3, it left no results' in errors
    assert 'the reason' in errors


@pytest.mark.parametrize(('flag', 'message'), [
    ('--short', 'exit status 0, its last epoch was 8'), ('--dead', 'step_decay: LR stood still')])
def test_a_run_that_stops_early_or_whose_trick_is_dead_does_not_count(
        ladder, folder, trainer, flag, message):
    code, errors = climb(ladder, folder, trainer, '--trainer-flags', flag)
    assert code == 1 and message in errors
    assert not list(folder.parent.glob('out/runs/*/*/done.json'))


def test_a_rung_whose_own_trick_was_not_applied_is_refused(
        ladder, folder, trainer, monkeypatch, capsys):
    monkeypatch.setattr(ladder, 'TRAINER', trainer)
    code = ladder.main([str(folder), '--out', str(folder.parent / 'out'), '--epochs', '10',
                        '--images-per-class', '3', '--jobs', '1', '--trainer-flags', '--alive'])
    shown = capsys.readouterr()
    assert code == 1 and 'mixup, seed 0: a trick had no effect' in shown.err
    assert 'live: label_smoothing seen' in shown.out
    done = folder.parent / 'out' / 'runs' / 'seed0'
    assert sorted(path.parent.name for path in done.glob('*/done.json')) == sorted(
        rung for rung in ladder.RUNGS if rung != 'mixup')
    record = json.loads((done / 'no_bias_decay' / 'done.json').read_text())
    assert record['evidence'] == {'cosine_warmup': 'cosine_warmup seen',
                                  'no_bias_decay': 'no_bias_decay seen'}


def test_a_folder_with_a_ladder_of_other_settings_is_refused(ladder, folder, trainer):
    climb(ladder, folder, trainer, '--trainer-flags', '--break')
    with pytest.raises(TrickError, match=r'other settings \(.*epochs 10, here 20'):
        climb(ladder, folder, trainer, '--epochs', '20', '--trainer-flags', '--break')


def test_a_folder_in_use_is_refused(ladder, folder, trainer):
    with ladder.locked(folder.parent / 'out'), pytest.raises(TrickError, match='is in use'):
        climb(ladder, folder, trainer)


@pytest.mark.parametrize(('flags', 'message'), [
    (['x', '--epochs', '2'], '--epochs: a run of 2 is too short for steps'),
    (['x', '--jobs', '0'], '--jobs must be at least 1, got 0'),
    (['x', '--warmup-epochs', '50', '--epochs', '50'], 'less than --epochs 50, got 50'),
    ([], 'DATA is missing')])
def test_wrong_settings_are_refused(ladder, flags, message):
    with pytest.raises(TrickError, match=message):
        ladder.parse(flags)
