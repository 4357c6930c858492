"""What is reported when, what is judged, and what a killed or failing training leaves."""

from __future__ import annotations

import json
import logging

import pytest

from tricks_plugin.evidence import DeadTrickError, Evidence, Finding, Monitor
from tricks_plugin.plan import TrickError


class Clock:
    """As much of a training as the monitor itself reads."""

    def __init__(self):
        self.iteration = self.epoch = self.updates = 0


class Scripted(Evidence):
    """Says what it is told to say, and keeps what it was asked."""

    def __init__(self, live=True, switches=()):
        self.live, self.switches, self.calls = live, switches, []

    def start(self, training):
        self.calls.append('start')

    def before_iteration(self, training):
        self.calls.append('before')

    def after_iteration(self, training):
        self.calls.append('after')

    def on_update(self, training):
        self.calls.append('update')

    def switched(self, training):
        return training.iteration in self.switches

    def finding(self, training):
        return Finding('a promise', self.live, f'at {training.iteration}')

    def close(self):
        self.calls.append('close')


def drive(monitor, epochs=2, length=4, every=1, before_epoch_end=None):
    """Trains in name only: ``every`` iterations make an update."""
    clock = monitor.training
    monitor.start()
    for epoch in range(epochs):
        clock.epoch = epoch
        for index in range(length):
            clock.iteration = epoch * length + index
            monitor.before_iteration()
            clock.updates += (clock.iteration + 1) % every == 0
            monitor.after_iteration()
        if before_epoch_end is not None:
            before_epoch_end(epoch)
        monitor.after_epoch()


def make(tmp_path, evidence, **options):
    options.setdefault('logger', logging.getLogger('monitor'))
    return Monitor(Clock(), evidence, folder=tmp_path, **options)


def reports(tmp_path):
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    return [(one['when'], one['iteration']) for one in [*saved['history'], saved]]


def test_an_update_is_told_after_the_iteration_that_made_it(tmp_path):
    one = Scripted()
    drive(make(tmp_path, {'one': one}), epochs=1, length=4, every=2)
    assert one.calls == ['start', 'before', 'after', 'before', 'after', 'update',
                         'before', 'after', 'before', 'after', 'update']


def test_tables_come_after_the_first_iterations_at_a_switch_and_at_the_end(tmp_path):
    monitor = make(tmp_path, {'one': Scripted(switches=(5,))}, first=2)
    drive(monitor)
    monitor.close()
    assert reports(tmp_path) == [
        ('after 2 iterations', 1), ('one switched', 5), ('at the end', 7)]


def test_tables_held_back_come_with_the_ends_of_epochs(tmp_path):
    monitor = make(tmp_path, {'one': Scripted(switches=(5,))}, first=None)
    drive(monitor, epochs=3)
    monitor.close()
    assert reports(tmp_path) == [
        ('after the first epoch', 3), ('one switched', 7), ('at the end', 11)]


def test_a_trick_that_dies_after_a_good_start_is_reported_with_its_epoch(tmp_path, caplog):
    one = Scripted()
    monitor = make(tmp_path, {'one': one}, first=2)

    def break_it(epoch):
        one.live = epoch < 1

    with caplog.at_level(logging.ERROR):
        drive(monitor, epochs=3, before_epoch_end=break_it)
    assert reports(tmp_path) == [('after 2 iterations', 1), ('after epoch 1', 7)]
    assert [record.getMessage() for record in caplog.records] == [
        "trick 'one' shows no effect: planned a promise; measured at 7"]


def test_strict_judges_what_was_asked_for_and_nothing_else(tmp_path):
    quiet = make(tmp_path, {'one': Scripted(), 'other': Scripted(live=False)}, strict=True,
                 judged=['one'], first=2)
    drive(quiet)
    quiet.close()
    loud = make(tmp_path, {'one': Scripted(live=False)}, strict=True, first=2)
    with pytest.raises(DeadTrickError, match=r'under tricks\.strict=True: one \(see tricks_evi'):
        drive(loud)
    assert issubclass(DeadTrickError, TrickError) and issubclass(DeadTrickError, RuntimeError)


def test_an_error_that_ends_the_training_is_not_hidden_by_a_dead_trick(tmp_path):
    one = Scripted()
    monitor = make(tmp_path, {'one': one}, strict=True, first=None)
    drive(monitor, epochs=1)
    one.live = False
    monitor.close(failed=True)
    assert one.calls[-1] == 'close'
    assert reports(tmp_path)[-1] == ('at the end', 3)


def test_a_dead_trick_at_the_end_still_detaches_every_measurement(tmp_path):
    one, other = Scripted(), Scripted()
    monitor = make(tmp_path, {'one': one, 'other': other}, strict=True, first=None)
    drive(monitor, epochs=1)
    one.live = False
    with pytest.raises(DeadTrickError):
        monitor.close()
    assert one.calls[-1] == other.calls[-1] == 'close'


def test_a_run_of_no_iteration_reports_nothing_and_leaves_no_file(tmp_path):
    one = Scripted()
    monitor = make(tmp_path, {'one': one})
    monitor.start()
    monitor.after_epoch()
    monitor.close()
    assert not list(tmp_path.iterdir())
    assert one.calls == ['start', 'close']


def test_the_cost_is_a_share_of_the_time_and_the_file_is_whole(tmp_path):
    monitor = make(tmp_path, {'one': Scripted()}, first=2)
    drive(monitor)
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert 0 < saved['cost'] <= 1
    assert saved['tricks'] == [{'name': 'one', 'planned': 'a promise', 'live': True,
                                'measured': 'at 1', 'values': {}}]
    assert [path.name for path in tmp_path.iterdir()] == ['tricks_evidence.json']


class Exploded(Scripted):
    def finding(self, training):
        return Finding('a promise', False, 'nan', {'off': float('nan'), 'lrs': [float('inf'), 1]})


def test_numbers_that_are_none_leave_the_file_valid_json(tmp_path):
    drive(make(tmp_path, {'one': Exploded()}))
    text = (tmp_path / 'tricks_evidence.json').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    assert json.loads(text)['tricks'][0]['values'] == {'off': None, 'lrs': [None, 1]}


class Faulty(Scripted):
    """Fails in one method from an iteration on."""

    def __init__(self, method, since=0):
        super().__init__()
        self.method, self.since, self.failures = method, since, 0

    def _fail(self, method, training=None):
        if method == self.method and (training is None or training.iteration >= self.since):
            self.failures += 1
            raise KeyError('a name')

    def start(self, training):
        super().start(training)
        self._fail('start', training)

    def before_iteration(self, training):
        self._fail('before_iteration', training)

    def after_iteration(self, training):
        self._fail('after_iteration', training)

    def on_update(self, training):
        self._fail('on_update', training)

    def switched(self, training):
        self._fail('switched', training)
        return super().switched(training)

    def finding(self, training):
        self._fail('finding', training)
        return super().finding(training)

    def close(self):
        super().close()
        self._fail('close')


@pytest.mark.broken_evidence
@pytest.mark.parametrize('method', [
    'start', 'before_iteration', 'after_iteration', 'on_update', 'switched', 'finding'])
def test_a_measurement_that_fails_is_dropped_with_one_warning_and_the_run_goes_on(
        tmp_path, caplog, method):
    bad, good = Faulty(method), Scripted()
    monitor = make(tmp_path, {'bad': bad, 'good': good}, strict=True, first=2)
    with caplog.at_level(logging.WARNING):
        drive(monitor)
        monitor.close()
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    row, other = saved['tricks']
    assert row['live'] is None and row['error'] == "KeyError: 'a name'"
    assert row['measured'] == "could not be measured: KeyError: 'a name'"
    assert other == {'name': 'good', 'planned': 'a promise', 'live': True, 'measured': 'at 7',
                     'values': {}}
    assert good.calls.count('after') == 8
    assert bad.failures == 1 and bad.calls[-1] == good.calls[-1] == 'close'
    assert bad.calls.count('close') == 1  # as soon as it has failed: its hooks are gone
    [record] = caplog.records
    assert "whether trick 'bad' is live" in record.getMessage() and record.exc_info


@pytest.mark.broken_evidence
def test_a_measurement_without_a_finding_has_failed(tmp_path):
    class Silent(Scripted):
        def finding(self, training):
            return None

    monitor = make(tmp_path, {'one': Silent()}, first=2)
    drive(monitor)
    monitor.close()
    [row] = json.loads((tmp_path / 'tricks_evidence.json').read_text())['tricks']
    assert row['live'] is None
    assert row['error'] == 'TypeError: finding() must return a Finding, got None'


@pytest.mark.broken_evidence
def test_a_measurement_that_fails_late_keeps_its_promise_in_the_table(tmp_path, caplog):
    monitor = make(tmp_path, {'one': Faulty('finding', since=6)}, first=2)
    with caplog.at_level(logging.INFO):
        drive(monitor)
        monitor.close()
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert [one['live'] for one in saved['history'][0]['tricks']] == [True]
    assert [(one['planned'], one['live']) for one in saved['tricks']] == [('a promise', None)]
    last = [one.getMessage() for one in caplog.records if 'Evidence' in one.getMessage()][-1]
    assert 'unknown' in last and 'too early' not in last


@pytest.mark.broken_evidence
def test_a_measurement_that_cannot_be_detached_leaves_the_others_detached(tmp_path, caplog):
    bad, good = Faulty('close'), Scripted()
    monitor = make(tmp_path, {'bad': bad, 'good': good}, first=None)
    drive(monitor, epochs=1)
    with caplog.at_level(logging.WARNING):
        monitor.close()
    assert good.calls[-1] == 'close' and not monitor.measurements
    assert [one.getMessage() for one in caplog.records] == [
        "the measurement of 'bad' could not be detached"]


def test_an_interrupt_while_measuring_ends_the_run(tmp_path):
    class Interrupted(Scripted):
        def after_iteration(self, training):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(make(tmp_path, {'one': Interrupted()}))
