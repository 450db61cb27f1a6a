"""Work done ahead in threads, its results taken in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, stopped: Event | None = None
) -> Generator[Result, None, None]:
    """function(item) for each item, in `workers` threads, at most one more than these ahead of what is taken.

    What a thread raises is raised where its result would be taken. Once the generator ends, is closed, or is left in
    the middle of a loop, no thread remains: `stopped` is set, for long work to look at, and what runs is waited for.
    Without workers each item has its turn where its result is taken.
    """
    if not workers:
        yield from map(function, items)
        return
    ahead: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="densenet-data")
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if stopped:
            stopped.set()
        pool.shutdown()
