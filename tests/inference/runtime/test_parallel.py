# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames worked on several at once come in their order, a few ahead and no more; NumPy adds no threads."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sparse2dense.inference.runtime.parallel import in_order


def test_results_come_in_the_order_of_the_calls():
    def work(number, seconds):
        time.sleep(seconds)
        return number

    calls = [(number, 0.02 * (number % 3 == 0)) for number in range(12)]
    assert list(in_order(work, calls, 4)) == list(range(12))
    assert list(in_order(work, [], 4)) == []


def test_as_many_run_at_once_as_there_are_threads():
    together = threading.Barrier(3, timeout=10)
    assert len(list(in_order(lambda _: together.wait(), ((i,) for i in range(6)), 3))) == 6


def test_a_long_stream_is_never_held_whole():
    taken = []

    def calls():
        for number in range(1000):
            taken.append(number)
            yield (number,)

    results = in_order(lambda number: number, calls(), 2)
    for number in range(10):
        assert next(results) == number
        assert len(taken) <= number + 1 + 2 * 2
    results.close()
    assert len(taken) < 20


def test_an_error_of_the_work_is_raised_in_its_place():
    def work(number):
        if number == 3:
            raise ValueError("third")
        return number

    results = in_order(work, ((number,) for number in range(9)), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="third"):
        next(results)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where Linux lists them")
@pytest.mark.parametrize(("wanted", "threads"), [(None, 1), ("2", 2)])
def test_numpy_works_in_one_thread_unless_the_user_wants_more(wanted, threads):
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    if wanted:
        environment["OPENBLAS_NUM_THREADS"] = wanted
    code = (
        "import sparse2dense.inference.cli, numpy, os; a = numpy.ones((900, 900)); a @ a; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == min(threads, os.cpu_count())
