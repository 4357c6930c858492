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
