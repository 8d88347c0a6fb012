"""One order per topic: the rules, and a model of everything that can happen to a topic's events between them."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aurora_bridge.outbox.backlog import Backlog


def direct_topic() -> Backlog[int]:
    backlog = Backlog[int]()
    assert backlog.handed_over(0)
    return backlog


# Rules


def test_a_topic_begins_with_a_backlog_since_the_spool_may_hold_events_of_it() -> None:
    backlog = Backlog[int]()
    assert (backlog.arrive(1), backlog.waiting) == (False, 1)


def test_a_topic_is_direct_once_nothing_waits() -> None:
    backlog = direct_topic()
    assert (backlog.arrive(1), backlog.waiting) == (True, 0)


@pytest.mark.proves("events of a subject stay in order, through an outage too")
def test_a_failure_moves_all_unacknowledged_sends_in_the_order_of_receipt() -> None:
    backlog = direct_topic()
    for item in (3, 1, 2, 5):
        backlog.arrive(item)
    assert backlog.end(1)
    assert (backlog.fail(), backlog.waiting, backlog.direct) == ([3, 2, 5], 3, False)


def test_what_comes_after_the_failure_joins_behind() -> None:
    backlog = direct_topic()
    backlog.arrive(1)
    backlog.fail()
    assert (backlog.arrive(2), backlog.waiting) == (False, 2)


def test_a_second_failure_moves_nothing_twice() -> None:
    backlog = direct_topic()
    backlog.arrive(1)
    assert (backlog.fail(), backlog.fail(), backlog.waiting) == ([1], [], 1)


def test_a_send_that_moved_to_the_spool_does_not_end_directly() -> None:
    backlog = direct_topic()
    backlog.arrive(1)
    backlog.fail()
    assert not backlog.end(1)
    assert backlog.waiting == 1


def test_a_topic_becomes_direct_only_when_all_that_waits_was_handed_over() -> None:
    backlog = Backlog[int]()
    for item in (1, 2, 3):
        backlog.arrive(item)
    assert not backlog.handed_over(2)
    assert backlog.handed_over(3)
    assert backlog.arrive(4)


def test_what_is_on_its_way_into_the_spool_waits_too() -> None:
    backlog = direct_topic()
    backlog.arrive(1)
    backlog.fail()
    assert not backlog.handed_over(0)
    backlog.left(1)
    assert backlog.handed_over(0)


def test_a_failure_of_a_topic_that_became_direct_moves_the_newcomers_only() -> None:
    backlog = Backlog[int]()
    backlog.arrive(1)
    backlog.handed_over(1)
    backlog.arrive(2)
    assert (backlog.fail(), backlog.waiting) == ([2], 2)


# Model


class TopicModel(RuleBasedStateMachine):
    """One topic with a tiny spool, sender and Kafka, driven the way `outbox.publisher` and `outbox.drainer` do it.

    Events are numbered in the order of receipt. Kafka's log may hold copies: the first of a number counts. A crash
    takes all that is in memory; a head in doubt may reach Kafka or not, as may a delivery whose commit was under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.rows: list[int] = []
        self.accepted: set[int] = set()
        self.received = 0
        self.start()

    def start(self) -> None:
        self.backlog = Backlog[int]()
        self.backlog.waiting = len(self.rows)
        self.commits: list[list[int]] = []
        self.sender: list[int] = []
        self.in_doubt = False
        self.stored = False
        self.window: list[int] = []
        self.flowing = False

    # Receipt and commits

    @rule()
    def deliver(self) -> None:
        self.received += 1
        if self.backlog.arrive(self.received):
            self.sender.append(self.received)
        else:
            self.commits.append([self.received])

    @precondition(lambda self: self.commits)
    @rule()
    def commit(self) -> None:
        for item in self.commits.pop(0):
            if item in self.accepted:  # acknowledged on its way into the spool
                self.backlog.left(1)
            else:
                self.rows.append(item)
                self.accepted.add(item)

    @precondition(lambda self: self.commits)
    @rule()
    def commit_fails(self) -> None:
        """The spool is full: the deliveries are refused, one in the sender may still arrive."""
        self.backlog.left(len(self.commits.pop(0)))

    # The sender

    @precondition(lambda self: self.sender)
    @rule()
    def acknowledge(self) -> None:
        item = self.sender.pop(0)
        if not self.stored:
            self.log.append(item)
        self.in_doubt = self.stored = False
        self.accepted.add(item)
        if self.backlog.end(item):
            return
        if item in self.rows:
            self.rows.remove(item)
            self.backlog.left(1)
        self.end_window(item)

    @precondition(lambda self: self.sender)
    @rule(stored=st.booleans())
    def lose_the_answer(self, stored: bool) -> None:  # noqa: FBT001
        """The connection breaks: the head is in doubt, and goes out again until Kafka answers."""
        if stored and not self.stored:
            self.log.append(self.sender[0])
            self.stored = True
        self.in_doubt = True
        self.give_backlog()

    @precondition(lambda self: self.sender and not self.in_doubt)
    @rule()
    def find_the_broker_away(self) -> None:
        self.give_backlog()

    @rule()
    def miss_the_publish_deadline(self) -> None:
        self.give_backlog()

    @precondition(lambda self: self.sender and not self.in_doubt)
    @rule()
    def refuse_the_topic(self) -> None:
        self.sender.clear()
        self.give_backlog()
        self.flowing = False
        self.window.clear()

    def give_backlog(self) -> None:
        moved = self.backlog.fail()
        if moved:
            doubtful = self.sender[:1] if self.in_doubt else []
            self.sender = [item for item in self.sender if item in doubtful or item not in moved]
            self.commits.append(moved)

    # The drainer

    @precondition(lambda self: not self.backlog.direct and not self.window)
    @rule(size=st.integers(1, 3))
    def drain(self, size: int) -> None:
        if self.backlog.handed_over(0):
            self.flowing = False
            return
        self.window = self.rows[:size]
        self.sender += [item for item in self.window if item not in self.sender]
        if self.window and self.flowing:
            self.backlog.handed_over(len(self.window))
        self.flowing = bool(self.window)

    def end_window(self, item: int) -> None:
        if item in self.window:
            self.window.remove(item)

    # Ends

    @rule(reached=st.booleans(), committed=st.booleans())
    def crash_and_restart(self, reached: bool, committed: bool) -> None:  # noqa: FBT001
        if reached and self.sender and not self.stored:
            self.log.append(self.sender[0])
        if committed and self.commits:
            self.rows += self.commits[0]
        self.start()

    def teardown(self) -> None:
        """In the end everything that was accepted is in Kafka, and the topic is direct again."""
        while self.commits:
            self.commit()
        for _ in range(2 * self.received + 2):
            while self.sender:
                self.acknowledge()
            if not self.backlog.direct:
                self.drain(2)
        assert self.accepted <= set(self.log)
        assert (self.backlog.waiting, self.backlog.direct) == (0, True)
        self.order_is_kept()

    # Promises

    @invariant()
    def nothing_accepted_is_lost(self) -> None:
        assert self.accepted <= set(self.log) | set(self.rows)

    @invariant()
    def order_is_kept(self) -> None:
        firsts = list(dict.fromkeys(self.log))
        assert all(before < after for before, after in pairwise(firsts)), firsts

    @invariant()
    def what_waits_is_counted(self) -> None:
        assert self.backlog.waiting == len(self.rows) + sum(map(len, self.commits))


TestTopicModel = TopicModel.TestCase
TestTopicModel.settings = settings(max_examples=300, stateful_step_count=40)
