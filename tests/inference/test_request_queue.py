"""Who goes next, without a thread or a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.job import Job, Outcome
from inference.protocol import InfillRequest, Masked, Priority
from inference.request_queue import REMEMBERED_CLIENTS, QueueFull, RequestQueue


def job(
    document: str | None = None,
    priority: Priority = Priority.INTERACTIVE,
    deadline_ms: int | None = None,
    client: str | None = None,
) -> Job:
    request = InfillRequest(
        segments=(Masked(1),), document=document, priority=priority, deadline_ms=deadline_ms, client=client
    )
    return Job(request, now=0.0, on_outcome=lambda outcome: None)


def test_oldest_first() -> None:
    queue = RequestQueue(4)
    first, second = job(), job()
    queue.add(first)
    queue.add(second)
    assert (queue.take(), queue.take(), queue.take()) == (first, second, None)


def test_interactive_before_background() -> None:
    queue = RequestQueue(4)
    background, interactive = job(priority=Priority.BACKGROUND), job()
    queue.add(background)
    queue.add(interactive)
    assert (queue.take(), queue.take()) == (interactive, background)


def test_one_priority_can_be_asked_for() -> None:
    queue = RequestQueue(4)
    background = job(priority=Priority.BACKGROUND)
    queue.add(background)
    assert queue.take(Priority.INTERACTIVE) is None
    assert (queue.waiting(Priority.INTERACTIVE), queue.waiting(Priority.BACKGROUND)) == (0, 1)
    assert queue.take(Priority.BACKGROUND) is background


def test_one_window_cannot_take_the_places_of_the_others() -> None:
    queue = RequestQueue(8, capacity_per_client=2)
    for _ in range(2):
        queue.add(job(client="busy"))
    with pytest.raises(QueueFull, match="2 requests of this window are waiting already"):
        queue.add(job(client="busy"))
    queue.add(job(client="busy", priority=Priority.BACKGROUND))
    for client in ("a", "b", None, "a", "b", None):
        queue.add(job(client=client))
    with pytest.raises(QueueFull, match=r"^8 requests are waiting already"):
        queue.add(job(client="c"))
    queue.take()
    queue.add(job(client="busy"))


def test_a_newer_request_for_a_document_needs_no_place_of_its_own() -> None:
    queue = RequestQueue(8, capacity_per_client=1)
    older, newer = (job(client="busy", document="a") for _ in range(2))
    queue.add(older)
    assert queue.add(newer) is older


def test_a_window_with_sixty_waiting_delays_another_by_one_turn() -> None:
    queue = RequestQueue(64)
    for _ in range(60):
        queue.add(job(client="busy"))
    assert taken(queue, 5) == ["busy"] * 5
    queue.add(job(client="late"))
    assert taken(queue, 2) == ["late", "busy"]
    queue.add(job(client="late"))
    queue.add(job(client="late"))
    queue.add(job())
    assert taken(queue, 6) == [None, "late", "busy", "late", "busy", "busy"]


def taken(queue: RequestQueue, number: int) -> list[str | None]:
    jobs = [queue.take() for _ in range(number)]
    return [job.request.client if job else "nobody" for job in jobs]


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=30))
def test_windows_take_turns_and_keep_their_own_order(clients: list[str | None]) -> None:
    queue = RequestQueue(30)
    added = [job(client=client) for client in clients]
    for each in added:
        queue.add(each)
    order: list[Job] = []
    while (each := queue.take()) is not None:
        order.append(each)
        served = {client: sum(j.request.client == client for j in order) for client in set(clients)}
        still = [client for client in served if served[client] < clients.count(client)]
        assert all(served[client] <= served[other] + 1 for client in served for other in still)
    for client in set(clients):
        assert [j for j in order if j.request.client == client] == [j for j in added if j.request.client == client]


def test_clients_are_forgotten_when_there_are_too_many() -> None:
    queue = RequestQueue(4)
    for number in range(3 * REMEMBERED_CLIENTS):
        queue.add(job(client=str(number)))
        queue.take()
    assert len(queue._last_turn) == REMEMBERED_CLIENTS


def test_the_newest_of_a_document_takes_over_the_turn_of_the_older() -> None:
    queue = RequestQueue(4)
    older, other, newest = job("a"), job("b"), job("a")
    assert queue.add(older) is None
    assert queue.add(other) is None
    assert queue.add(newest) is older
    assert (queue.take(), queue.take(), queue.take()) == (newest, other, None)


def test_the_newest_of_a_document_wins_across_priorities() -> None:
    queue = RequestQueue(4)
    older, newest = job("a", Priority.BACKGROUND), job("a")
    queue.add(older)
    assert queue.add(newest) is older
    assert (queue.take(), queue.take()) == (newest, None)


def test_requests_without_a_document_never_meet() -> None:
    queue = RequestQueue(4)
    assert queue.add(job()) is None
    assert queue.add(job()) is None
    assert len(queue) == 2


def test_a_full_queue_refuses_and_stays_as_it_is() -> None:
    queue = RequestQueue(1)
    waiting = job("a", Priority.BACKGROUND)
    queue.add(waiting)
    queue.add(job("b"))
    with pytest.raises(QueueFull):
        queue.add(job("a"))
    assert len(queue) == 2
    queue.take()
    assert queue.take() is waiting


def test_background_work_cannot_fill_the_interactive_room() -> None:
    queue = RequestQueue(1)
    queue.add(job(priority=Priority.BACKGROUND))
    queue.add(job())
    with pytest.raises(QueueFull):
        queue.add(job(priority=Priority.BACKGROUND))


def test_expired_jobs_are_taken_out() -> None:
    queue = RequestQueue(4)
    hasty, patient, endless = job(deadline_ms=100), job(deadline_ms=5000), job()
    for waiting in (hasty, patient, endless):
        queue.add(waiting)
    assert queue.take_expired(0.05) == []
    assert queue.take_expired(0.1) == [hasty]
    assert queue.take_all() == [patient, endless]


def test_removing_what_does_not_wait_is_no_error() -> None:
    queue = RequestQueue(4)
    queue.add(job("a"))
    queue.remove(job("a"))
    assert len(queue) == 1


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from(Priority))))
def test_one_job_for_each_document_and_never_more_than_fit(added: list[tuple[str | None, Priority]]) -> None:
    queue = RequestQueue(3)
    for document, priority in added:
        try:
            queue.add(job(document, priority))
        except QueueFull:
            continue
    waiting = queue.take_all()
    documents = [job.request.document for job in waiting if job.request.document is not None]
    assert len(documents) == len(set(documents))
    assert all(sum(job.request.priority is priority for job in waiting) <= 3 for priority in Priority)


def test_a_job_has_one_outcome() -> None:
    from inference.engines.base import EngineError

    outcomes: list[Outcome] = []
    once = Job(InfillRequest(segments=(Masked(1),)), now=0.0, on_outcome=outcomes.append)
    first = EngineError("first")
    assert not once.settled()
    assert once.settle(first)
    assert not once.settle(EngineError("second"))
    assert once.settled()
    assert outcomes == [first]
