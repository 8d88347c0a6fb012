"""Sequences on which the daemon's core once broke a promise, played through the model and its checks."""

import sqlite3
from collections.abc import Iterator
from typing import Final

import pytest

from tests.models.state_directory import index_of
from tests.models.test_way import Far, Way

STATUS: Final = "project_status_changed"
HOUR: Final = 3600
NOTHING: Final = {"index": False, "spool": False, "kafka": False}


class Play(Way):
    """The model, with a status that changes to a named one, and all promises checked after each step that matters."""

    def status(self, letter: str, far: Far = Far.STORED, *, reaches: bool = True, subscriptions: int = 1) -> None:
        """Let the status of the project change."""
        further = ("ABC".index(letter) - self.state) % 3
        self.a_status_changes(further=further, far=far, reaches=reaches, subscriptions=subscriptions)
        self.check()

    def retry(self, far: Far = Far.STORED, *, reaches: bool = True) -> None:
        """Let Aurora make the next attempt that is due."""
        self.aurora_retries(far=far, reaches=reaches)
        self.check()

    def acknowledge_first(self) -> None:
        """Let Kafka acknowledge the first status that waits, alone."""
        waiting = self.daemon.wire.queues[STATUS].waiting
        rest = [waiting.pop() for _ in range(len(waiting) - 1)]
        self.kafka_does(topic=STATUS, what="acknowledge")
        waiting.extend(reversed(rest))
        self.check()

    def die(self, index_is: str = "") -> None:
        """Kill the daemon, and start the next."""
        self.the_process_dies(index_is=index_is)
        self.check()

    def check(self) -> None:
        """Check what always holds."""
        self.what_was_acknowledged_is_stored()
        self.what_was_refused_for_good_is_not()
        self.order_is_kept()
        self.every_answer_leaves_in_time()

    def last(self) -> str | None:
        """Return the outcome of the last delivery."""
        answer = self.webhooks[-1].requests[-1].answer
        return answer.outcome if answer else None


@pytest.fixture(params=[False, True], ids=["without a spool", "with a spool"])
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    play = Play()
    play.starts(spooled=request.param, filtered=False, hour=0)
    play.state = 2  # C, so that A and B are both to come
    try:
        yield play
        play.all_is_calm()
        play.check()
    finally:
        play.teardown()


# States that were refused.


def refuse(play: Play, letter: str) -> None:
    """Let a state be refused, and the file learn that."""
    play.kafka_comes_or_goes(up=False)
    if play.spooled:
        play.the_spool_is_full()
    play.status(letter)
    play.the_index_works()
    assert play.last() == "refused"


def test_a_refused_state_makes_the_one_before_it_a_genuine_return(play: Play) -> None:
    play.status("A")
    refuse(play, "B")
    play.kafka_comes_or_goes(up=True)
    play.it_goes_on(1.0)
    play.status("A")
    assert play.last() != "duplicate"
    play.retry()


def test_a_refused_state_is_known_after_a_crash(play: Play) -> None:
    play.status("A")
    refuse(play, "B")
    play.die()
    play.status("A")
    assert play.last() != "duplicate"


def test_what_the_answer_deadline_ends_is_known_after_a_crash(play: Play) -> None:
    """The process stood still: B is given up at once, and its 503 waits for nothing."""
    play.status("A")
    play.status("B", Far.JUDGED)
    play.the_process_stands_still()
    play.the_index_works()
    assert play.last() == "refused"
    play.die()
    play.status("A")
    assert play.last() != "duplicate"


def test_copies_of_what_is_refused_at_once_are_refused_at_once(play: Play) -> None:
    play.kafka_comes_or_goes(up=False)
    play.status("B", Far.JUDGED, subscriptions=2)
    if not play.spooled:
        assert not play.daemon.requests


def test_the_refused_retry_of_a_doubtful_event_leaves_its_id_to_it(play: Play) -> None:
    """B is in Kafka, and nobody knows; its retry is refused; B comes back an hour later, after another state."""
    play.status("B", Far.JUDGED)
    play.kafka_does(topic=STATUS, what="forget")
    play.it_goes_on(5.5, kafka=False, spool=False)
    play.kafka_comes_or_goes(up=False)
    play.retry(Far.JUDGED)
    play.it_goes_on(8.5, kafka=False, spool=False)
    play.time_passes(seconds=HOUR)
    play.all_is_calm()
    play.status("A")
    play.time_passes(seconds=HOUR)
    play.status("B")


def test_of_a_refused_event_that_a_later_one_replaced_nothing_is_noted_though_that_one_is_lost(play: Play) -> None:
    """Memory has one event of a fingerprint. The later one is refused at once, and gone with the file."""
    play.a_lead_changes(far=Far.ASKED)
    play.it_goes_on(0.3, kafka=False, spool=False)
    play.status("B")
    play.it_goes_on(1.1, kafka=False, spool=False)
    play.a_project_is_created(far=Far.ASKED, reaches=False)
    play.status("C", Far.ASKED, reaches=False)
    play.the_index_is_removed()
    play.a_lead_changes(far=Far.ASKED)
    play.a_project_is_created(far=Far.ASKED, reaches=False)
    play.a_lead_changes(far=Far.ASKED, reaches=False)
    play.kafka_comes_or_goes(up=False)
    play.it_goes_on(5.1, kafka=False, spool=False)


def test_a_batch_that_may_be_stored_is_not_refused_for_good(play: Play) -> None:
    play.status("B", Far.JUDGED)
    play.kafka_does(topic=STATUS, what="forget")
    play.kafka_does(topic=STATUS, what="refuse")
    play.check()


# Crashes.


def test_an_event_that_comes_back_and_is_lost_in_a_crash_is_not_taken_for_the_one_in_the_spool(play: Play) -> None:
    """B and A lie in the spool; B comes back, and the process dies before the spool has it."""
    play.kafka_comes_or_goes(up=False)
    play.status("B")
    play.status("A")
    play.status("B", Far.JUDGED)
    play.die()
    play.retry()


@pytest.mark.parametrize("later", [0.3 * step for step in range(14)])
def test_a_state_that_is_lost_in_flight_is_not_the_latest(play: Play, later: float) -> None:
    """A is stored. B is stored while A comes back, which is lost in a crash: its retry is no duplicate."""
    play.status("A")
    play.it_goes_on(5.0 + later)
    play.status("B", Far.JUDGED)
    play.status("A", Far.JUDGED)
    play.acknowledge_first()
    play.it_goes_on(2.5, kafka=False, spool=False)
    play.die()
    play.retry()
    assert play.last() != "duplicate"


def test_an_event_that_bypassed_the_index_and_was_refused_does_not_lend_the_id_of_an_earlier_one(play: Play) -> None:
    """B is stored and expected again; its retry bypasses the index and is refused; B comes back after another state."""
    play.status("B", reaches=False)
    play.status("A")
    play.all_is_calm()
    play.kafka_comes_or_goes(up=False)
    play.retry(Far.ASKED)
    play.it_goes_on(1.6, **NOTHING)
    play.all_is_calm()
    play.time_passes(seconds=600)
    play.status("B")


@pytest.mark.parametrize("refused", [False, True], ids=["not heard", "refused"])
def test_a_retry_that_came_before_a_crash_does_not_hide_a_later_return(play: Play, *, refused: bool) -> None:
    """A's retry comes, then B; A comes back when the next retry would be due."""
    play.kafka_comes_or_goes(up=not refused)
    if refused and play.spooled:
        play.the_spool_is_full()
    play.status("A", reaches=False)
    play.it_goes_on(5.0)
    play.kafka_comes_or_goes(up=True)
    play.retry()
    play.status("B")
    play.the_index_works()
    play.die()
    play.time_passes(seconds=300)
    play.status("A")
    assert play.last() != "duplicate"


# The index file.


def fill(play: Play) -> None:
    """Let there be something old to forget, and A, which is of today."""
    play.a_lead_changes(far=Far.STORED)
    play.it_goes_on(5.0)
    play.time_passes(seconds=25 * HOUR)
    play.it_goes_on(5.0)
    play.status("A")
    play.it_goes_on(7.0)


def test_what_a_full_file_did_not_take_is_read_again_after_a_crash(play: Play) -> None:
    """The write of B finds no room, that of the positions behind it needs none."""
    fill(play)
    play.the_index_is_full()
    play.status("B")
    for _ in range(300):
        play.it_goes_on(0.02, index=False)
        play.the_index_works()
        if index_of(play.directory).positions.get(STATUS) == 2:
            break
    play.die()
    play.status("A")
    assert play.last() != "duplicate"


def test_what_a_full_file_did_not_take_is_read_again_after_a_stop(play: Play) -> None:
    fill(play)
    play.the_index_is_full()
    play.status("B")
    play.it_goes_on(0.6, index=False)
    play.the_process_stops()
    play.status("A")
    assert play.last() != "duplicate"


def test_a_look_at_the_topics_that_began_before_the_file_was_recreated_says_nothing_of_the_new_one(play: Play) -> None:
    play.status("B")
    play.it_goes_on(5.0)
    play.kafka_is_read(reads=False)
    play.it_goes_on(0.6)
    play.the_index_fails(sqlite3.SQLITE_CORRUPT)
    play.it_goes_on(1.5)
    play.kafka_is_read(reads=True)
    play.it_goes_on(5.0)
    play.status("A")
    play.status("B")


def begin_to_read(play: Play) -> None:
    """Let B ask the file, after a reading of the topics was waited for long enough; then let that begin again."""
    play.status("B", reaches=False)
    play.it_goes_on(5.0)
    play.status("A")
    play.the_process_dies(slow=True)
    play.kafka_is_read(reads=False)
    play.the_index_works()
    play.it_goes_on(0.1, kafka=False)
    play.a_lead_changes(far=Far.ASKED)
    play.it_goes_on(1.6)
    play.retry(Far.ASKED)
    play.kafka_is_read(reads=True)


def test_a_look_up_that_fails_while_the_topics_are_read_is_made_again(play: Play) -> None:
    begin_to_read(play)
    play.the_index_fails(sqlite3.SQLITE_IOERR)
    play.the_index_works()
    play.the_index_fails(None)
    play.it_goes_on(2.5)


def test_nobody_waits_longer_for_a_reading_that_began_behind_him(play: Play) -> None:
    begin_to_read(play)
    play.it_goes_on(3.1, index=False)
    play.check()


def test_a_state_in_flight_is_the_latest_though_memory_was_given_up(play: Play) -> None:
    play.status("A")
    play.it_goes_on(5.0)
    play.the_index_fails(sqlite3.SQLITE_IOERR)
    play.it_goes_on(1.1)
    for _ in range(6):
        play.a_project_is_created(far=Far.STORED)
    play.kafka_comes_or_goes(up=True)
    play.status("B", Far.JUDGED)
    play.it_goes_on(1.1, kafka=False)
    play.kafka_comes_or_goes(up=False)
    play.it_goes_on(3.1, kafka=False, spool=False)
    play.the_index_fails(None)
    play.kafka_comes_or_goes(up=True)
    play.it_goes_on(1.5, kafka=False)
    play.it_goes_on(5.0, kafka=False)
    play.status("A")


def test_what_memory_knows_from_a_file_is_written_into_the_one_that_is_recreated(play: Play) -> None:
    """A copy of B brings it from the file into memory; just then the file is damaged, and the log read again."""
    play.a_lead_changes(far=Far.STORED)
    play.kafka_comes_or_goes(up=False)
    play.status("B")
    play.it_goes_on(5.0, kafka=False)
    play.a_copy_comes(far=Far.JUDGED)
    play.the_index_fails(sqlite3.SQLITE_CORRUPT)
    play.a_lead_changes(far=Far.JUDGED)
    for _ in range(3):
        play.the_index_works()
        play.the_spool_works() if play.spooled else None
    play.all_is_calm()
    play.status("A")
    play.status("B")


def test_repeats_in_one_millisecond_have_ids_of_their_own_after_a_crash(play: Play) -> None:
    play.the_clock_stands()
    at = play.clock.us
    play.a_lead_changes(far=Far.STORED)
    play.a_lead_changes(far=Far.STORED)
    play.it_goes_on(1.0)
    play.die("removed")
    play.clock.us = at
    play.a_lead_changes(far=Far.STORED)
    play.a_lead_changes(far=Far.STORED)
