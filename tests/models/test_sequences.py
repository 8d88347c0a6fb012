"""Sequences on which the daemon's core once broke a promise, played through the model and its checks."""

from collections.abc import Iterator

import pytest

from tests.models.test_way import Far, Way

STATUS = "project_status_changed"


class Play(Way):
    """The model, with a status that changes to a named one, and all promises checked after each step that matters."""

    def status(self, letter: str, far: Far, *, reaches: bool = True, subscriptions: int = 1) -> None:
        """Let the status of the project change."""
        further = ("ABC".index(letter) - self.state) % 3
        self.a_status_changes(further=further, far=far, reaches=reaches, subscriptions=subscriptions)
        self.check()

    def retry(self, far: Far, *, reaches: bool = True) -> None:
        """Let Aurora make the next attempt that is due."""
        self.aurora_retries(far=far, reaches=reaches)
        self.check()

    def check(self) -> None:
        """Check what always holds."""
        self.what_was_acknowledged_is_stored()
        self.what_was_refused_for_good_is_not()
        self.order_is_kept()

    def last(self) -> str | None:
        """Return the outcome of the last delivery."""
        answer = self.webhooks[-1].flights[-1].answer
        return answer.outcome if answer else None


@pytest.fixture(params=[False, True], ids=["without a spool", "with a spool"])
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    play = Play()
    play.starts(spooled=request.param, filtered=False, hour=0)
    try:
        yield play
        play.all_is_calm()
        play.check()
    finally:
        play.teardown()


def test_an_event_that_comes_back_and_is_lost_in_a_crash_is_not_taken_for_the_one_in_the_spool(play: Play) -> None:
    """B and A lie in the spool; B comes back, and the process dies before the spool has it."""
    play.kafka_comes_or_goes(up=False)
    play.status("B", Far.STORED)
    play.status("A", Far.STORED)
    play.status("B", Far.JUDGED)
    play.the_process_dies()
    play.retry(Far.STORED)


def test_copies_of_what_is_refused_at_once_are_refused_at_once(play: Play) -> None:
    play.kafka_comes_or_goes(up=False)
    play.status("B", Far.JUDGED, subscriptions=2)
    if not play.spooled:
        assert not play.daemon.flights


def test_the_refused_retry_of_a_doubtful_event_leaves_its_id_to_it(play: Play) -> None:
    """B is in Kafka, and nobody knows; its retry is refused; B comes back an hour later, after another state."""
    play.status("B", Far.JUDGED)
    play.kafka_does(topic=STATUS, what="forget")
    play.a_deadline_passes(seconds=5.5)
    play.kafka_comes_or_goes(up=False)
    play.retry(Far.JUDGED)
    play.time_passes(seconds=3600)
    play.all_is_calm()
    play.status("A", Far.STORED)
    play.time_passes(seconds=3600)
    play.status("B", Far.STORED)


def test_a_batch_that_may_be_stored_is_not_refused_for_good(play: Play) -> None:
    play.status("B", Far.JUDGED)
    play.kafka_does(topic=STATUS, what="forget")
    play.kafka_does(topic=STATUS, what="refuse")
    play.check()


def test_what_is_learned_does_not_cut_what_is_looked_up_from_the_journal(play: Play) -> None:
    """The owed retry of B is learned while C is looked up; C is stored, and the process dies; B comes back."""
    play.status("B", Far.STORED, reaches=False)
    play.all_is_calm()
    play.retry(Far.JUDGED, reaches=False)
    play.status("C", Far.ASKED)
    play.answers_are_noted()
    play.the_index_works()
    play.kafka_does(topic=STATUS, what="acknowledge")
    play.the_process_dies()
    play.time_passes(seconds=3600)
    play.status("B", Far.STORED)
    assert play.last() != "duplicate"


def test_an_unjudged_event_that_was_refused_does_not_lend_the_id_of_an_earlier_one(play: Play) -> None:
    """B is stored and owed; its retry passes unjudged and is refused; B comes back after another state."""
    play.status("B", Far.STORED, reaches=False)
    play.status("A", Far.STORED)
    play.all_is_calm()
    play.kafka_comes_or_goes(up=False)
    play.retry(Far.ASKED)
    play.patience_with_the_index_ends()
    play.all_is_calm()
    play.time_passes(seconds=600)
    play.status("B", Far.STORED)


def test_an_unjudged_event_keeps_its_id_over_a_crash(play: Play) -> None:
    play.status("B", Far.ASKED, reaches=False)
    play.patience_with_the_index_ends()
    play.kafka_does(topic=STATUS, what="acknowledge")
    play.the_index_works(answers=False)
    key = play.webhooks[0].flights[0].id
    play.the_process_dies()
    play.retry(Far.STORED)
    assert play.webhooks[-1].flights[-1].id == key
