"""The arithmetic, the meter and the words, by a clock that tells what it is told."""

from __future__ import annotations

import json
import logging

import pytest

from tricks_plugin.common.sample_times import SampleTimes
from tricks_plugin.common.step_timer import Part
from tricks_plugin.common.waiting.advice import Situation, blame, brought, explain, remedies
from tricks_plugin.common.waiting.arithmetic import (
    slowest_step,
    waiting_share,
    workers_needed,
)
from tricks_plugin.common.waiting.cache import Cache, cache_of
from tricks_plugin.common.waiting.meter import Stretch, WaitMeter
from tricks_plugin.common.waiting.monitor import FILE, DataMonitor, Limits, read_record


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def times_of(read=0.001, decode=0.002, resize=0.003, rest=0.0, cpu=None):
    parts = {Part('Load: reading', 'reading'): read, Part('Load', 'decoding'): decode,
             Part('Resize', 'transform'): resize, Part('Data', 'dataset'): rest}
    total = sum(parts.values())
    return SampleTimes(parts, 8, total, total if cpu is None else cpu)


@pytest.mark.parametrize('sample, batch, step, workers', [
    (0.030, 16, 0.200, 3),   # 480 ms of work every 200 ms
    (0.025, 16, 0.200, 2),   # 400 ms: two have just the time
    (0.0251, 16, 0.200, 3), (0.001, 1, 5.0, 1), (0.1, 3, 0.1, 3)])
def test_workers_that_make_a_batch_in_a_step(sample, batch, step, workers):
    assert workers_needed(sample, batch, step) == workers
    assert waiting_share(sample, batch, step, workers) == pytest.approx(0, abs=1e-12)
    if workers > 1:
        assert waiting_share(sample, batch, step, workers - 1) > 0


def test_the_share_that_waits():
    assert slowest_step(0.030, 16, 2) == pytest.approx(0.24)
    assert waiting_share(0.030, 16, 0.200, 2) == pytest.approx(1 / 6)  # 240 ms for 200
    assert waiting_share(0.030, 16, 0.120, 0) == pytest.approx(0.8)    # 480 of 600 ms
    assert waiting_share(0.030, 16, 0.120, 1) == pytest.approx(0.75)   # 480 ms for 120


def test_the_meter_counts_waiting_apart_from_work_and_from_validation():
    clock = Clock()
    meter = WaitMeter(clock)
    for epoch in range(2):
        clock.now += 1000  # validation, checkpoints
        meter.ask(first=True)
        for index in range(3):
            clock.now += 5 if index == 0 else 1
            meter.arrive()
            clock.now += 3
            meter.finish()
        assert meter.iterations == 3 * (epoch + 1)
    seen = meter.take()
    # Each epoch: waits of 5, 1, 1 and work of 3, 3, 3.
    assert seen == Stretch(iterations=6, seconds=32, waiting=14, starting=10)
    assert seen.share == 0.4375 and seen.step == 3
    assert meter.take() == Stretch() and Stretch().share == 0


class Gaps:
    """A device that tells of idle times with the next look."""

    def __init__(self, idle):
        self.idle, self.waits, self.ends = list(idle), [], 0

    def ended(self):
        self.ends += 1

    def begun(self, waited, first):
        if not self.ends:
            return False
        self.waits.append((waited, first))
        return True

    def take(self):
        found = [(min(waited, self.idle.pop(0)), first) for waited, first in self.waits]
        self.waits = []
        return found


def test_waiting_while_the_device_is_busy_is_no_loss():
    clock = Clock()
    meter = WaitMeter(clock, Gaps([0.0, 0.25, 9.0]))
    for _ in range(4):
        clock.now += 1
        meter.arrive()
        clock.now += 1
        meter.finish()
    # The first wait has no work before it; then the device idles 0, 0.25 and, as far as this wait
    # is to blame, 1 of 9 s.
    assert meter.take() == Stretch(iterations=4, seconds=8, waiting=2.25, starting=1)


@pytest.mark.parametrize('times, cause', [
    (times_of(read=0.02), 'reading the files'), (times_of(decode=0.02), 'decoding the images'),
    (times_of(resize=0.02), 'the transform Resize'),
    (times_of(rest=0.02), 'Data itself (annotations, copies)')])
def test_the_largest_part_is_to_blame(times, cause):
    assert blame(times) == (cause, 0.02)


def test_remedies_say_what_they_would_leave():
    # 60 ms an image, 8 images, steps of 100 ms: 480 ms of work, 5 workers.
    at = Situation(workers=2, batch_size=8, processors=8, persistent=True, iterations=10)
    found = remedies(times_of(read=0.030, decode=0.025, resize=0.005), 0.100, at)
    assert found == [
        '5 workers in place of 2 (num_workers): that many make 8 images every 100 ms',
        # 30 ms left: 120 ms for two workers, 1 - 100/120.
        'the trick data_cache, level encoded (the files in memory or on a local disk): with 2 '
        'workers it leaves 17% waiting',
        'the trick data_cache, level decoded (images decoded once): with 2 workers it leaves 0% '
        'waiting']
    # 5 ms of 60 are no matter; at 50 ms of 60 the transform is.
    found = remedies(times_of(read=0.005, decode=0.005, resize=0.050), 0.100, at)
    assert len(found) == 2
    assert found[1] == ('a cheaper Resize, as what it does alike in every epoch can be done once: '
                        'without it, with 2 workers it leaves 0% waiting')


def test_workers_are_no_remedy_where_there_are_no_processors_for_them():
    at = Situation(workers=2, batch_size=8, processors=4, persistent=True, iterations=10)
    slow = times_of(resize=0.057)
    # Four workers make 8 images in 120 ms, for steps of 100 ms.
    assert remedies(slow, 0.100, at)[0] == (
        'more workers alone do not suffice: the images of a step keep 4.8 processors busy, and '
        'there are 4, whose workers would leave 17% waiting')
    # A storage that makes them wait keeps no processor busy.
    waiting = times_of(read=0.057, resize=0.0, cpu=0.003)
    assert remedies(waiting, 0.100, at)[0].startswith('5 workers in place of 2')


BUDGET = "a larger share of the files in data_cache's folder (budget_mb): with 2 workers it leaves"
FILLING = ('nothing to be set for the files: the cache (level {}) is still being filled, and later '
           'epochs read from it: with 2 workers it leaves')
DECODED = 'the trick data_cache, level decoded (images decoded once): with 2 workers it leaves'


@pytest.mark.parametrize('cache, advice', [
    # 60 ms an image, 8 images, steps of 100 ms, two workers: 30 ms less leave 17 % waiting.
    (Cache('encoded', full=True), [f'{BUDGET} 17%', f'{DECODED} 0%']),
    (Cache('encoded', filling=True), [f'{FILLING.format("encoded")} 17%', f'{DECODED} 0%']),
    (Cache('encoded'), [f'{DECODED} 0%']),  # it reads from the cache: that is what it takes
    (Cache('decoded', full=True, filling=True), [f'{BUDGET} 0%']),
    (Cache('decoded', filling=True), [f'{FILLING.format("decoded")} 0%']),
    (Cache('decoded'), [])])
def test_a_cache_that_is_there_is_not_advised_again(cache, advice):
    at = Situation(workers=2, batch_size=8, processors=8, persistent=True, iterations=1,
                   cache=lambda: cache)
    found = remedies(times_of(read=0.030, decode=0.025, resize=0.005), 0.1, at)
    assert found[1:] == [f'{line} waiting' for line in advice]


def test_the_cache_of_a_data_set_is_that_of_its_reader_through_wrappers():
    class Reader:
        def cache_now(self):
            return Cache('decoded', full=True)

    class Images:
        pass

    inner, outer = Images(), Images()
    outer.dataset = inner
    assert cache_of(outer) == Cache() == cache_of(None)
    inner.reader = Reader()
    assert cache_of(outer) == Cache('decoded', full=True)


def test_the_explanation_in_words():
    seen = Stretch(iterations=100, seconds=20.0, waiting=8.0, starting=0.5)
    at = Situation(workers=2, batch_size=8, processors=8, persistent=True, iterations=36000)
    lines = explain(seen, times_of(resize=0.047), at).splitlines()
    assert lines[0] == ('Waiting for data takes 40% of the time: 80.0 of 200.0 ms in the mean '
                        'of the last 100 iterations; over the 36000 of this training, 0:48:00 of '
                        '2:00:00')
    assert lines[1] == ('A worker makes an image in 50.0 ms (8 measured beside the run): '
                        'Resize 47.0, Load 2.0, Load: reading 1.0, Data 0.0')
    assert lines[2] == 'To blame: the transform Resize, 94% of it'
    assert lines[3].startswith('What would help: 4 workers in place of 2')


def test_the_start_of_workers_and_what_lies_between_are_told_apart():
    seen = Stretch(iterations=100, seconds=20.0, waiting=8.0, starting=6.0)
    at = Situation(workers=2, batch_size=8, processors=2, persistent=False, iterations=100)
    text = explain(seen, times_of(), at)
    assert 'To blame: starting the workers, 75% of the waiting' in text
    assert text.endswith('persistent_workers=True in the data loader (the trick runtime sets it)')
    # 6 ms an image: two workers make 8 in 24 ms, steps take 120 ms.
    text = explain(Stretch(100, 20.0, 8.0, 0.0), times_of(), at)
    assert '2 workers make a batch every 24 ms, fast enough for steps of 120 ms' in text
    assert 'What would help' not in text
    assert explain(seen, None, at, 'no such file').endswith('could not be measured: no such file')


def test_a_loader_that_is_begun_anew_is_told_apart():
    clock = Clock()
    meter = WaitMeter(clock)
    for index in range(6):  # a pass of three batches, the next begins with two seconds of sleep
        clock.now += 2.5 if index == 3 else 0.1
        meter.arrive(restarted=index == 3)
        clock.now += 0.2
        meter.finish()
    seen = meter.take()
    assert seen.restarts == 1 and seen.starting == pytest.approx(2.6)  # the very first one too
    assert seen.waiting == pytest.approx(3.0)
    for persistent in (False, True):
        at = Situation(2, 8, 8, persistent, 100)
        text = explain(seen, times_of(), at)
        assert ("To blame: the end of the loader, which was begun anew 1 times in these iterations "
                "(mmengine's IterBasedTrainLoop sleeps 2 s for it and starts the workers): 87% of "
                'the waiting is for the first batches after that') in text
        assert text.endswith("What would help: sampler=dict(type='InfiniteSampler') in "
                             'train_dataloader, which has no end')


def record(share, rate, **settings):
    return dict(share=share, images_per_second=rate,
                settings=dict(num_workers=2, pipeline=['Load', 'Resize'], **settings))


def test_what_a_change_brought():
    now = record(0.05, 60.0)
    now['settings'] = dict(num_workers=4, pipeline=['Load(cached)', 'Resize'])
    assert brought(record(0.31, 40.0), now) == (
        'Waiting for data takes 5% of the time, 31% in the run before (changed since: '
        'num_workers 2 -> 4, + Load(cached), - Load); 60.0 images/s, 1.50 times its 40.0')
    assert brought(record(0.31, 40.0), record(0.30, 41.0)) == ''
    # Each of two processes makes 25 images/s where one alone made 40: 50 in all.
    assert '(changed since: processes 1 -> 2); 50.0 images/s, 1.25 times its 40.0' in brought(
        record(0.31, 40.0, processes=1), record(0.05, 25.0, processes=2))
    assert 'by the same settings' in brought(record(0.31, 40.0), record(0.10, 50.0))


class FakeProbe:
    """A measurement that is there after some looks."""

    made = 0

    def __init__(self, times, after=1, error=''):
        type(self).made += 1
        self.times, self.error, self.after = None, '', after
        self._found = (times, error)

    def start(self):
        pass

    def done(self, patience):
        self.after -= 1
        if self.after <= 0 or patience:
            self.times, self.error = self._found
        return self.after <= 0 or bool(patience)


@pytest.fixture()
def told(caplog):
    caplog.set_level(logging.INFO, logger='data_monitor_test')
    FakeProbe.made = 0
    return lambda: [one.getMessage() for one in caplog.records if one.name == 'data_monitor_test']


def train(folder, pairs, after=1, limits=None, workers=2, iterations=1000):
    """Trains by the clock: ``(waiting, work)`` seconds of each iteration."""
    clock, shares = Clock(), []
    monitor = DataMonitor(
        WaitMeter(clock), limits or Limits(0.2, 2, 4),
        Situation(workers, 8, 8, True, iterations),
        dict(num_workers=workers, pipeline=['Load', 'Resize']),
        lambda: FakeProbe(times_of(resize=0.997), after),
        logger=logging.getLogger('data_monitor_test'), folder=folder, publish=shares.append)
    monitor.meter.ask(first=True)
    for waiting, work in pairs:
        clock.now += waiting
        monitor.arrived()
        clock.now += work
        monitor.finished()
    monitor.close()
    return monitor, shares


def test_it_speaks_once_of_what_it_saw_when_it_asked(tmp_path, told):
    monitor, shares = train(tmp_path, [(1, 3)] * 20 + [(0, 3)] * 20, after=3)
    # The first look holds waits 1, 1 and one piece of work: 2 of 5; the others 2 of 8, then none.
    assert shares == [0.4] + [0.25] * 9 + [0.0] * 10
    assert FakeProbe.made == 1 and len(told()) == 1
    assert told()[0].startswith('Waiting for data takes 25% of the time: 1000.0 of 4000.0 ms '
                                'in the mean of the last 4 iterations; over the 1000 of')
    assert 'To blame: the transform Resize' in told()[0]
    saved = json.loads((tmp_path / FILE).read_text())
    # From the second look on: 18 waits of 1 s in 38 iterations of 3 s.
    assert saved['iterations'] == 38 and saved['share'] == pytest.approx(18 / 132)
    assert saved['images_per_second'] == pytest.approx(8 * 38 / 132)
    assert saved['sample']['ms'] == pytest.approx(1000.0)


def test_it_keeps_quiet_without_a_bottleneck(tmp_path, told):
    # One long wait, as for a batch of large images, is none: 3 of 4 x 6 s.
    train(tmp_path, [(0.5, 6)] * 9 + [(3, 6)] + [(0.5, 6)] * 10)
    assert told() == [] and FakeProbe.made == 0
    assert json.loads((tmp_path / FILE).read_text())['share'] < 0.2


def test_the_start_of_a_run_is_passed_over(tmp_path, told):
    train(tmp_path, [(500, 3), (0, 3)] + [(0.1, 3)] * 20)
    assert told() == []


def test_a_short_run_is_judged_at_its_end_and_a_shorter_one_not(tmp_path, told):
    train(tmp_path, [(1, 3)] * 8, limits=Limits(0.2, 2, 100))
    assert len(told()) == 1 and (tmp_path / FILE).exists()
    train(tmp_path / 'none', [(1, 3)] * 5, limits=Limits(0.2, 2, 100))
    assert len(told()) == 1 and not (tmp_path / 'none').exists()


def test_the_next_run_hears_what_its_change_brought(tmp_path, told):
    train(tmp_path, [(3, 3)] * 20)
    train(tmp_path, [(0, 3)] * 20, workers=4)
    assert len(told()) == 2
    assert told()[1].startswith(
        'Waiting for data takes 0% of the time, 50% in the run before (changed since: '
        'num_workers 2 -> 4)')
    train(tmp_path, [(0, 3)] * 20, workers=4)
    assert len(told()) == 2


def test_a_process_without_a_folder_counts_and_is_silent(told):
    monitor, shares = train(None, [(3, 3)] * 20)
    assert told() == [] and len(shares) == 10 and monitor.meter.iterations == 20


@pytest.mark.parametrize('text', ['', '{', '[1]', '{"share": 0.1}', '{"images_per_second": "x"}',
                                  '{"share": 0.1, "images_per_second": 0}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert read_record(tmp_path) is None


@pytest.mark.parametrize('wrong', [dict(threshold=0), dict(threshold=1), dict(interval=0),
                                   dict(window=0)])
def test_limits_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match='must be'):
        Limits(**wrong)
