"""The time of pipelines' parts, by a clock that tells what it is told."""

from __future__ import annotations

import pytest

from tricks_plugin.common.sample_times import measure
from tricks_plugin.common.step_timer import Part, StepTimer, step_names, time_steps


class Clock:
    """Stands still between two calls of `sleep`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Sleeps:
    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds
        self.mark = f'sleeps {seconds}'

    def __call__(self, value):
        self.clock.sleep(self.seconds)
        return value + 1


class Quick(Sleeps):
    pass


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, value):
        for step in self.transforms:
            value = step(value)
        return value


class Chooses(Compose):
    """A step that holds steps, and takes 0.5 s itself."""

    def __init__(self, clock, transforms):
        super().__init__(transforms)
        self.clock = clock

    def __call__(self, value):
        self.clock.sleep(0.5)
        return super().__call__(value)


@pytest.fixture()
def clock():
    return Clock()


def test_each_part_has_its_own_time_and_all_together_are_the_whole(clock):
    timer = StepTimer(clock)
    outer, inner = timer.declare('outer', 'dataset'), timer.declare('inner', 'transform')
    clock.sleep(7)  # outside of all parts
    with timer.part(outer):
        clock.sleep(1)
        with timer.part(inner):
            clock.sleep(2)
            with timer.within('reading'):
                clock.sleep(4)
        clock.sleep(8)
    assert timer.seconds == {outer: 9.0, Part('inner: reading', 'reading'): 4.0, inner: 2.0}
    assert [part.name for part in timer.seconds] == ['outer', 'inner: reading', 'inner']


def test_a_part_that_raises_is_closed(clock):
    timer = StepTimer(clock)
    outer, inner = timer.declare('outer', 'dataset'), timer.declare('inner', 'transform')
    with timer.part(outer):
        with pytest.raises(KeyError), timer.part(inner):
            clock.sleep(3)
            raise KeyError('x')
        clock.sleep(5)
    assert timer.seconds == {outer: 5.0, inner: 3.0}


def test_steps_within_steps_are_timed_and_equal_names_get_numbers(clock):
    timer = StepTimer(clock)
    pipeline = Compose([Sleeps(clock, 1), Chooses(clock, [[Quick(clock, 2)], Sleeps(clock, 4)])])
    pipeline.transforms[1].transforms = [Compose([Quick(clock, 2)]), Sleeps(clock, 4)]
    same = time_steps(pipeline, timer)
    assert same is pipeline and pipeline(0) == 3
    assert {part.name: seconds for part, seconds in timer.seconds.items()} == {
        'Sleeps': 1.0, 'Chooses': 0.5, 'Quick': 2.0, 'Sleeps (2)': 4.0}
    assert pipeline.transforms[0].mark == 'sleeps 1'
    assert not hasattr(pipeline.transforms[0], 'get_indexes')


def test_settings_that_only_look_like_steps_are_left_alone(clock):
    class Albu:
        transforms = None

        def __init__(self):
            self.transforms = [dict(type='Blur', p=0.1)]

        def __call__(self, value):
            return value

    wrapped = time_steps(Albu(), StepTimer(clock))
    assert wrapped.transforms[0].transforms == [{'type': 'Blur', 'p': 0.1}]


def test_the_names_of_steps_come_in_the_order_of_the_pipeline(clock):
    inside = Chooses(clock, [Compose([Quick(clock, 1)])])
    assert step_names(Compose([Sleeps(clock, 1), inside, len])) == [
        'Sleeps', 'Chooses', 'Quick', 'len']


def test_the_measurement_of_samples_is_that_of_their_parts(clock):
    class Data:
        def __init__(self):
            self.pipeline = Compose([Sleeps(clock, 0.25), Quick(clock, 0.5)])
            self.asked = []

        def __getitem__(self, index):
            self.asked.append(index)
            clock.sleep(0.125)
            return self.pipeline(index)

    def collate(samples):
        clock.sleep(3)
        return samples

    def instrument(dataset, timer):
        time_steps(dataset.pipeline, timer)
        return dataset

    data = Data()
    times = measure(data, [[5, 6, 7, 8], [9, 4]], collate, instrument, clock, lambda: 2 * clock())
    assert data.asked == [5, 5, 6, 7, 8, 9, 4]  # one more than counts, beforehand
    # 6 samples: 0.125 + 0.25 + 0.5 each, and two batches of 3 s over them: 1 s each.
    assert {part.name: seconds for part, seconds in times.parts.items()} == {
        'Data': 0.125, 'Sleeps': 0.25, 'Quick': 0.5, 'collate': 1.0}
    assert (times.samples, times.seconds, times.cpu_seconds) == (6, 1.875, 3.75)
    assert times.rate == pytest.approx(8 / 15)
    assert times.of_kind('transform') == 0.75
    as_dict = times.to_dict()
    assert as_dict['ms'] == 1875.0
    assert as_dict['parts'][1] == {'name': 'Sleeps', 'kind': 'transform', 'ms': 250.0}
