# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a stream of frames, several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_order(work: Callable[..., Result], calls: Iterable[tuple], threads: int) -> Iterator[Result]:
    """Yield ``work(*call)`` of each of the ``calls``, in their order, ``threads`` of them at once.

    Calls are taken only a few ahead of the result that is yielded, so that a long stream is never held whole.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Result]] = deque()
        for call in calls:
            ahead.append(pool.submit(work, *call))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
