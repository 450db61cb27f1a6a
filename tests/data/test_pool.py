"""Threads work ahead, in order and within bounds, and are gone when nobody takes their results."""

import subprocess
import sys
import threading
import time
from threading import Event, enumerate as threads

import pytest

from densenet_tools.data.pool import in_order


def of_the_pool() -> list[threading.Thread]:
    return [thread for thread in threads() if thread.name.startswith("densenet-data")]


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_results_come_in_order_whatever_takes_longest(workers):
    def slow_at_first(item: int) -> int:
        time.sleep(0.01 if item < 3 else 0)
        return item * item

    assert list(in_order(slow_at_first, range(20), workers)) == [item * item for item in range(20)]
    assert not of_the_pool()


@pytest.mark.parametrize(("workers", "ahead"), [(0, 0), (1, 2), (3, 4)])
def test_work_is_done_ahead_but_not_without_end(workers, ahead):
    begun = []
    results = in_order(begun.append, range(100), workers)
    for taken in range(1, 4):
        next(results)
        deadline = time.monotonic() + 5
        while len(begun) < taken + ahead and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)  # for more, if there were more
        assert len(begun) == taken + ahead
    results.close()


def test_without_a_taker_nothing_is_begun():
    begun = []
    in_order(begun.append, range(10), 2)
    assert not begun
    assert not of_the_pool()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_where_its_result_would_be_taken(workers):
    def fails_at_three(item: int) -> int:
        if item == 3:
            raise KeyError("three")
        return item

    results = in_order(fails_at_three, range(10), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    assert not of_the_pool()


def leave_by_break(results):
    for _ in results:
        break


def leave_by_error(results):
    def taker():
        for _ in results:
            raise KeyError

    with pytest.raises(KeyError):
        taker()


def leave_by_closing(results):
    next(results)
    results.close()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_closing])
def test_leaving_early_ends_the_threads_and_tells_long_work_to_stop(leave):
    """The first result is ready at once; every other would take a minute, if nobody told it to stop."""
    stopped, begun = Event(), []

    def long_after_the_first(item: int) -> None:
        begun.append(item)
        if item:
            stopped.wait(60)

    start = time.monotonic()
    results = in_order(long_after_the_first, range(1000), 3, stopped)
    leave(results)
    del results
    assert not of_the_pool()
    assert time.monotonic() - start < 10
    assert begun.count(4) == 0  # it had no thread yet


def test_a_process_with_results_left_to_take_can_exit():
    script = (
        "from densenet_tools.data.pool import in_order\n"
        "results = in_order(lambda item: item, range(10**9), 2)\n"
        "print(next(results))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
