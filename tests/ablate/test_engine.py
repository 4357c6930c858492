"""Runs, failures, interruptions and repetitions, with trainings that cost nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tricks_plugin.ablate.folder import Folder, last_telling_line
from tricks_plugin.ablate.plan_file import differences
from tricks_plugin.ablate.progress import left
from tricks_plugin.common.file_lock import locked
from tricks_plugin.plan.errors import TrickError

TWO = {'plain': {'value': 50.0}, 'mixup': {'value': 53.0}}
ALL = ['plain 0', 'mixup 0', 'plain 1', 'mixup 1']


def test_every_run_is_done_once_seed_by_seed(toy, capsys):
    assert toy.ablate(TWO) == 0
    assert toy.calls() == ALL
    runs = {(run['rung'], run['seed']): run['value'] for run in toy.study()['runs']}
    assert runs == {('plain', 0): 50.0, ('plain', 1): 51.0, ('mixup', 0): 53.0, ('mixup', 1): 54.0}
    assert toy.study()['metric'] == 'top1' and toy.study()['subjects'][0]['parameters'] == 11
    assert toy.ablate(TWO, '--jobs', '2') == 0 and toy.calls() == []
    assert '0 runs to do, 4 finished before' in capsys.readouterr().out


def test_a_failed_run_is_told_and_the_rest_goes_on(toy, capsys):
    assert toy.ablate({**TWO, 'plain': {'fail': [0]}}, '--jobs', '2') == 1
    assert sorted(toy.calls()) == sorted(ALL)
    shown = capsys.readouterr()
    assert 'toy, plain, seed 0: failed: RuntimeError: the reason' in shown.out
    assert shown.err == ('error: 1 of 4 runs have no result that counts: toy, plain, seed 0: '
                         'RuntimeError: the reason\n')
    assert toy.states() == dict.fromkeys(ALL, 'finished') | {'plain 0': 'failed'}
    assert toy.ablate(TWO) == 0
    assert toy.calls() == ['plain 0']


@pytest.mark.parametrize(('wish', 'words'), [
    ({'dead': [1]}, 'toy, mixup, seed 1: mixup had no effect'),
    ({'nan': [1]}, 'toy, mixup, seed 1: the metric is not a number'),
    ({'absent': [1], 'gives': 'coco/bbox_mAP_s'},
     'toy, mixup, seed 1: the validation has no objects of this kind')])
def test_a_run_that_does_not_count_gives_status_1(toy, capsys, wish, words):
    assert toy.ablate({**TWO, 'mixup': wish}) == 1
    assert f'1 of 4 runs have no result that counts: {words}' in capsys.readouterr().err
    assert toy.ablate({**TWO, 'mixup': wish}, '--report-only') == 0


def test_a_half_done_run_is_done_again_in_an_empty_folder(toy):
    assert toy.ablate(TWO) == 0
    toy.calls()
    place = toy.place('mixup', 1)
    (place / 'result.json').write_text('{"value": 5')  # as if written by a dying file system
    (place / 'work').mkdir()
    (place / 'work' / 'epoch_1.pth').write_bytes(b'half')
    assert toy.ablate(TWO) == 0
    assert toy.calls() == ['mixup 1'] and not (place / 'work').exists()


@pytest.mark.parametrize('text', ['[]', '5', '{"value": 50.0, "settings": "mixup"}'])
def test_a_result_or_failure_that_is_none_is_as_if_it_were_not_there(toy, text):
    assert toy.ablate(TWO, '--seeds', '1') == 0
    toy.calls()
    (toy.place('mixup', 0) / 'result.json').write_text(text)
    (toy.place('mixup', 0) / 'failure.json').write_text(text)
    assert toy.ablate(TWO, '--seeds', '1', '--report-only') == 0
    assert toy.states()['mixup 0'] == 'waiting'
    assert toy.ablate(TWO, '--seeds', '1') == 0
    assert toy.calls() == ['mixup 0']


def test_the_environment_is_that_of_the_runs(toy):
    assert toy.ablate(TWO) == 0
    place = toy.place('mixup', 1) / 'result.json'
    known = json.loads(place.read_text())
    machine = known['machine']
    assert toy.study()['environment'] == {'machine': machine, 'torch': '2'}
    place.write_text(json.dumps({**known, 'machine': 'another', 'versions': {'torch': '3'}}))
    assert toy.ablate(TWO, '--report-only') == 0
    found = toy.study()
    assert found['environment'] == {'machine': '; '.join(sorted([machine, 'another'])),
                                    'torch': '2; 3'}
    assert any('different machines' in note for note in found['notes'])


@pytest.mark.parametrize('change', [{'code': 'new1'}, {'versions': {'torch': '3'}}])
def test_results_of_other_code_are_made_anew_and_the_former_kept(toy, change):
    assert toy.ablate(TWO) == 0
    toy.calls()
    changed = {**TWO, 'all': change}
    assert toy.ablate(changed, '--keep-other-code') == 0
    assert toy.calls() == []
    assert toy.ablate(changed) == 0
    assert toy.calls() == ALL
    old = json.loads((toy.place('plain', 0).with_name('seed0.old-c0de') /
                      'result.json').read_text())
    assert old['value'] == 50.0 and old['versions'] == {'torch': '2'}
    assert len(toy.study()['runs']) == 4  # what was moved aside is not counted


def test_the_same_code_twice_aside_has_two_names(tmp_path):
    folder = Folder(tmp_path)
    for _ in range(2):
        (tmp_path / 'seed0').mkdir()
        (tmp_path / 'seed0' / 'result.json').write_text('{"code": "abc"}')
        folder.move_aside(tmp_path / 'seed0')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['seed0.old-abc', 'seed0.old-abc-1']


def test_more_seeds_add_runs_and_fewer_keep_them(toy):
    assert toy.ablate(TWO) == 0
    toy.calls()
    assert toy.ablate(TWO, '--first-seed', '2', '--seeds', '1') == 0
    assert toy.calls() == ['plain 2', 'mixup 2'] and toy.study()['seeds'] == [0, 1, 2]


def test_the_report_takes_no_name_of_what_is_planned(toy):
    assert toy.ablate(TWO) == 0
    planned = (toy.out / 'plan.json').read_text()
    assert 'rungs' in json.loads((toy.out / 'ablation.json').read_text())
    toy.calls()
    for words in (['--report-only'], ['--report-only'], []):
        assert toy.ablate(TWO, *words) == 0
        assert not toy.calls() and (toy.out / 'plan.json').read_text() == planned


def test_a_rung_that_changes_nothing_has_the_runs_of_another(toy):
    same = {**TWO, 'ema': {'settings': 'plain', 'same_as': 'plain'}}
    assert toy.ablate(same) == 0
    assert toy.calls() == ALL
    runs = {(run['rung'], run['seed']): run for run in toy.study()['runs']}
    assert runs['ema', 1]['value'] == 51.0
    assert runs['ema', 1]['folder'] == 'runs/toy/plain/seed1'
    assert any('ema changes nothing here, so the runs of plain' in note
               for note in toy.study()['notes'])


@pytest.mark.parametrize(('wish', 'words', 'odd'), [
    ({**TWO, 'mixup': {'settings': 'other'}}, [], 'rung mixup of toy is of other settings here'),
    ({**TWO, 'ema': {}}, [], 'rung ema of toy is new here'),
    (TWO, ['--mode', 'stack'], '--mode single, here stack'),
    (TWO, ['--metric', 'top5'], '--metric the default, here top5')])
def test_the_folder_of_another_ablation_is_refused(toy, wish, words, odd):
    assert toy.ablate(TWO, '--seeds', '1') == 0
    before = (toy.out / 'plan.json').read_text()
    with pytest.raises(TrickError, match=f'holds another ablation .*{odd}.*another folder'):
        toy.ablate(wish, '--seeds', '1', *words)
    assert (toy.out / 'plan.json').read_text() == before


def test_a_rung_that_changes_nothing_may_be_left_out_of_a_folder_that_has_it():
    def plan(rungs: dict, idle: dict) -> dict:
        return {'study': {'mode': 'stack', 'metric': ''}, 'identity': {'x': rungs}, 'idle': idle}
    known = plan({'plain': 'a', 'sync_bn': 'b', 'ema': 'c'}, {})
    assert differences(known, plan({'plain': 'a', 'ema': 'c'}, {'x': ['sync_bn']})) == []
    assert differences(known, plan({'plain': 'a', 'ema': 'd'}, {'x': ['sync_bn']})) == [
        'rung ema of x is of other settings here']
    assert differences(known, plan({'plain': 'a', 'ema': 'c'}, {'y': ['sync_bn']})) == [
        'rung sync_bn of x is not asked for here']
    # What changed nothing there, on another machine, may come here.
    known = plan({'plain': 'a', 'ema': 'c'}, {'x': ['sync_bn']})
    assert differences(known, plan({'plain': 'a', 'sync_bn': 'b', 'ema': 'c'}, {})) == []
    assert differences(known, plan({'plain': 'a', 'amp': 'b', 'ema': 'c'}, {})) == [
        'rung amp of x is new here']


def test_the_direction_stays_also_where_no_run_was_finished(tmp_path):
    def plan(greater, metric='loss'):
        return {'study': {'mode': 'single', 'metric': metric, 'seeds': [0]}, 'identity': {},
                'code': 'c', 'greater': greater}
    folder = Folder(tmp_path)
    folder.read_plan = lambda: json.loads(folder.plan_file.read_text()) \
        if folder.plan_file.exists() else None  # what is planned is no whole study here
    for given, kept in ((False, False), (None, False), (True, True), (None, True)):
        folder.keep_plan(plan(given))
        assert folder.read_plan()['greater'] is kept
    folder.keep_plan(plan(None, 'top1'))
    assert folder.read_plan()['greater'] is None


def test_an_unknown_metric_ends_all_and_may_be_mended(toy):
    wish = {name: {**one, 'metric': 'top1'} for name, one in TWO.items()}
    with pytest.raises(TrickError, match="^--metric: unknown metric 'top2'"):
        toy.ablate(wish, '--metric', 'top2')
    assert toy.calls() == ['plain 0']
    assert toy.ablate(wish, '--metric', 'top1') == 0


def test_a_folder_and_a_run_in_use_are_left_alone(toy, capsys):
    with locked(toy.out / '.lock'), pytest.raises(TrickError, match='is in use by an ablation'):
        toy.ablate(TWO)
    place = toy.place('plain', 0)
    place.mkdir(parents=True)
    (place / 'log.txt').write_text('a job of a cluster is at work')
    with locked(place.with_name('.seed0.lock')):
        assert toy.ablate(TWO) == 1
    assert 'plain, seed 0: failed: another process trains it' in capsys.readouterr().out
    assert (place / 'log.txt').read_text() == 'a job of a cluster is at work'
    assert toy.calls() == ALL[1:]


def test_tables_while_runs_go_on(toy):
    assert toy.ablate(TWO) == 0
    (toy.place('mixup', 1) / 'result.json').unlink()
    assert toy.ablate(TWO, '--report-only') == 0
    assert toy.states()['mixup 1'] == 'waiting'
    with locked(toy.out / '.lock'):
        assert toy.ablate(TWO, '--report-only') == 0
    assert toy.states() == dict.fromkeys(ALL, 'finished') | {'mixup 1': 'running'}
    with pytest.raises(TrickError, match='holds no ablation'):
        toy.ablate(TWO, '--report-only', '--out', str(toy.out / 'nothing'))


def test_one_seed_is_said_to_give_no_interval(toy):
    assert toy.ablate(TWO, '--seeds', '1') == 0
    assert any('One seed gives no interval' in note for note in toy.study()['notes'])


@pytest.mark.slow
def test_submitits_local_executor_runs_them(toy):
    pytest.importorskip('submitit')
    assert toy.ablate({'plain': {}}, '--launcher', 'local', '--seeds', '1') == 0
    assert toy.calls() == ['plain 0']
    assert 'epoch 1' in (toy.place('plain', 0) / 'log.txt').read_text()


def start(toy, wish_file, wish: dict) -> tuple[subprocess.Popen, list[int]]:
    """An ablation with two runs that hang, in a process of its own; and their numbers."""
    file = wish_file(wish)
    process = subprocess.Popen(
        [sys.executable, '-m', 'support.fake_ablation', str(file), 'x.py', '--jobs', '2',
         '--seeds', '1', '--out', str(toy.out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # A shell's background job ignores SIGINT, and what it starts does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    end = time.monotonic() + 60
    lines: list[str] = []
    while len(lines) < 2 and time.monotonic() < end:
        time.sleep(0.05)
        calls = file.with_name('calls.txt')
        lines = calls.read_text().splitlines() if calls.is_file() else []
    return process, [int(line.split()[2]) for line in lines]


def gone(number: int, seconds: float = 40.0) -> bool:
    """Whether a process ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
            if Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()[0] == 'Z':
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(('number', 'status', 'words'), [
    (signal.SIGTERM, 143, 'ended by SIGTERM; give the same command again'),
    (signal.SIGINT, 130, 'interrupted; give the same command again')])
def test_a_signal_ends_the_runs_too(toy, wish_file, number, status, words):
    process, runs = start(toy, wish_file, {'plain': {'hang': [0]}, 'mixup': {'hang': [0]}})
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and words in errors
    assert len(runs) == 2 and all(map(gone, runs))
    assert toy.ablate(TWO, '--report-only') == 0
    assert toy.states() == {'plain 0': 'waiting', 'mixup 0': 'waiting'}


def test_runs_end_when_the_ablation_is_killed(toy, wish_file):
    hang = {'hang': [0], 'die_with': True}
    process, runs = start(toy, wish_file, {'plain': hang, 'mixup': hang})
    process.kill()
    process.communicate(timeout=30)
    assert len(runs) == 2 and all(map(gone, runs))


def test_the_time_left_is_that_of_the_runs_so_far():
    # Two runs took 10 and 20 s: 15 s each, 4 more of them, 2 at once: 30 s.
    assert left([10.0, 20.0], 4, 2) == 30.0
    assert left([10.0], 1, 8) == 10.0 and left([], 4, 2) is None


def test_the_line_that_tells_why_is_the_error(tmp_path):
    log = tmp_path / 'log.txt'
    assert last_telling_line(log) == 'it left no log'
    log.write_text('a\nValueError: because\n  warnings.warn(...)\n-----\n')
    assert last_telling_line(log) == 'ValueError: because'
    log.write_text('-----\n')
    assert last_telling_line(log) == 'it printed nothing'
