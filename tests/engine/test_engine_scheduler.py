"""Who speaks next, on a simulated device and its clock."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_device import SimulatedDevice, SimulatedUtterance

from GPT_SoVITS.engine.scheduler import BATCH_PATIENCE_SECONDS, Phase, ScheduledUtterance, Slice, Step


def waits(utterances: list[SimulatedUtterance]) -> list[float]:
    """Return the sorted times from request to first audio."""
    firsts = [(utterance.first_audio_at, utterance.scheduled.arrived_at) for utterance in utterances]
    return sorted(first - arrived for first, arrived in firsts if first is not None)


def share(sorted_times: list[float], part: float) -> float:
    return sorted_times[min(len(sorted_times) - 1, int(part * len(sorted_times)))]


@pytest.mark.parametrize("voices", [1, 3, 16])
def test_equal_requests_at_one_moment_wait_about_equally_long(voices):
    device = SimulatedDevice()
    utterances = [device.submit(100, group=number % voices) for number in range(16)]

    device.run()

    times = waits(utterances)
    assert len(times) == 16
    assert share(times, 0.95) <= 2 * share(times, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_equal_requests_one_after_the_other_wait_about_equally_long(seed):
    device, generator = SimulatedDevice(), random.Random(seed)
    utterances = []
    for _ in range(200):  # the device is busy half of the time
        device.run(until=device.now + generator.expovariate(1 / 0.5))
        device.now += 0.0 if device.running else generator.expovariate(1 / 0.1)
        utterances.append(device.submit(100))

    device.run()

    times = waits(utterances)
    assert len(times) == 200
    assert share(times, 0.95) <= 2 * share(times, 0.5)


def test_eight_streams_are_played_without_an_underrun_beside_work_for_nobody():
    device = SimulatedDevice()
    for _ in range(8):
        device.submit(200, live=False)
    device.run(until=0.5)

    streams = [device.submit(200) for _ in range(8)]
    device.run()

    assert [utterance.underruns for utterance in streams] == [0] * 8
    assert all(utterance.decoded == 200 for utterance in device.utterances)


def test_a_first_chunk_comes_before_later_ones_and_these_before_work_for_nobody():
    device = SimulatedDevice()
    stream, batch = device.submit(100), device.submit(100, live=False)
    while not (stream.decoded and batch.converted):
        device.work()
    newcomer = device.submit(100)

    while newcomer.first_audio_at is None:
        work = device.work()
        assert isinstance(work, Step) or work == Slice(newcomer.scheduled)
    while stream.ended_at is None or newcomer.ended_at is None:
        assert device.work() != Slice(batch.scheduled)


def test_the_stream_that_runs_out_of_audio_first_is_next():
    device = SimulatedDevice()
    late, early = device.submit(100), device.submit(100)
    for utterance, until in ((late, 9.0), (early, 5.0)):
        utterance.scheduled.phase = Phase.READY
        utterance.scheduled.delivered_until = until

    assert device.scheduler.next_work() == Slice(early.scheduled)


def test_a_listener_that_says_when_it_runs_out_of_audio_is_believed():
    device = SimulatedDevice()
    second_sentence, stream = device.submit(100), device.submit(100)
    second_sentence.scheduled.played_until = lambda: 12.0
    stream.scheduled.delivered_until = 3.0

    assert device.scheduler.next_work() == Slice(stream.scheduled)
    stream.scheduled.delivered_until = 13.0
    assert device.scheduler.next_work() == Slice(second_sentence.scheduled)


def test_one_utterance_joins_before_a_step_so_that_the_others_wait_for_one_text_alone():
    device = SimulatedDevice()
    for _ in range(5):
        device.submit(100)

    joined = []
    while len(joined) < 5:
        work = device.work()
        if isinstance(work, Step):
            assert work.joining is not None
            joined.append(work.joining)

    assert joined == [utterance.scheduled for utterance in device.utterances]


def test_work_for_nobody_does_not_join_while_a_first_chunk_is_being_made():
    device = SimulatedDevice()
    stream = device.submit(100)
    device.work()
    batch = device.submit(100, live=False)

    while stream.first_audio_at is None:
        device.work()
        assert batch.generated == 0
    device.run()
    assert batch.ended_at is not None


def test_work_for_nobody_that_waited_very_long_is_as_due_as_live_work():
    device = SimulatedDevice()
    batch = device.submit(100, live=False)
    while batch.ended_at is None:
        assert device.now < BATCH_PATIENCE_SECONDS + 5
        if len(device.running) < 4:  # the device is never idle
            device.submit(2000)
        device.work()
        device.now += 0.01


def test_no_more_rows_than_there_is_room_for_and_everybody_has_a_turn():
    device = SimulatedDevice(max_rows=2)
    for number in range(7):
        device.submit(30, live=bool(number % 2))

    device.run()

    assert all(utterance.ended_at is not None for utterance in device.utterances)


def test_an_utterance_that_needs_the_whole_memory_is_alone():
    device = SimulatedDevice()
    first, second = device.submit(40), device.submit(40)
    device.scheduler.alone.append(second.scheduled)

    while second.ended_at is None:
        device.work()
    assert first.generated == 0
    device.run()
    assert first.ended_at is not None


@settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
class AnyLoad(RuleBasedStateMachine):
    """Whatever comes and goes, the device is never idle with work to do, and everybody is served."""

    @initialize(rows=st.integers(1, 6))
    def begin(self, rows: int) -> None:
        self.device = SimulatedDevice(max_rows=rows)

    @rule(tokens=st.integers(1, 80), voice=st.integers(0, 3), live=st.booleans())
    def submit(self, tokens: int, voice: int, live: bool) -> None:
        self.device.submit(tokens, group=voice, live=live)

    @rule(count=st.integers(1, 60))
    def work(self, count: int) -> None:
        for _ in range(count):
            before = {id(u): (u.generated, u.decoded) for u in self.device.running}
            live = [u for u in self.device.running if u.scheduled.live and u.scheduled.phase is Phase.READY]
            work = self.device.work()
            assert (work is None) == (not before)
            if isinstance(work, Slice) and not work.utterance.live and work.utterance.due() > self.device.now:
                assert not live, "a chunk that somebody waits for comes first"

    @precondition(lambda self: self.device.running)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.device.cancel(data.draw(st.sampled_from(self.device.running)))

    @invariant()
    def the_scheduler_knows_those_who_run(self) -> None:
        assert len(self.device.scheduler.utterances) == len(self.device.running)

    def teardown(self) -> None:
        self.device.run()
        assert not self.device.running


TestAnyLoad = AnyLoad.TestCase


def ready(
    device: SimulatedDevice, *, live: bool = True, generator: str = "shared", has_audio: bool = False
) -> ScheduledUtterance:
    """Submit an utterance that has a chunk to decode."""
    scheduled = device.submit(100, live=live).scheduled
    scheduled.phase, scheduled.generator = Phase.READY, generator
    if has_audio:
        scheduled.delivered(device.now, 1.0)
    return scheduled


def test_chunks_are_decoded_beside_those_that_are_due_and_share_a_generator():
    device = SimulatedDevice()
    device.scheduler.max_slices = 3
    later, other = ready(device, has_audio=True), ready(device, generator="other")
    firsts = [ready(device) for _ in range(4)]
    ready(device, live=False)

    works = []
    for _ in range(4):
        work = device.scheduler.next_work()
        assert isinstance(work, Slice)
        works.append(work)
        for utterance in (work.utterance, *work.others):
            utterance.phase = Phase.BLOCKED

    assert works == [
        Slice(other),
        Slice(firsts[0], (firsts[1], firsts[2])),
        Slice(firsts[3]),
        Slice(later),
    ]


def test_each_chunk_is_decoded_by_itself_unless_a_device_can_do_more():
    device = SimulatedDevice()
    first, _ = ready(device), ready(device)

    assert device.scheduler.next_work() == Slice(first)
