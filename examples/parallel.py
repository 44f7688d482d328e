"""Run independent jobs in several processes and hear of their progress."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from typing import Any

import torch


def run_jobs(
    jobs: Sequence[Callable[[Callable[[str], None]], Any]], on_report: Callable[[str], None], device: torch.device
) -> list[Any]:
    """Run jobs and return what they return, in order.

    Parameters
    ----------
    jobs : sequence of callable
        Each can be pickled and is called with a function to which it may report.
    on_report : callable
        Receives the reports of all jobs.
    device : torch.device
        Where the jobs compute: on CPUs they run side by side, elsewhere one after the other.

    Returns
    -------
    list
    """
    workers = min(len(jobs), os.cpu_count() or 1) if device.type == "cpu" else 1
    # NumPy's products of the workers, which read this when they start, share the cores badly too.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool,
    ):
        reports = manager.Queue()
        futures = [pool.submit(job, reports.put) for job in jobs]
        waiting = set(futures)
        while waiting:
            waiting = wait(waiting, timeout=0.2).not_done
            while not reports.empty():
                on_report(reports.get())
        return [future.result() for future in futures]


def prepare_worker() -> None:
    """Set torch up for many small products on one core."""
    # Threads that wait for each other within such products stall when other programs want the cores.
    torch.set_num_threads(1)
    # Gradients of a saturated LSTM fade into denormal numbers, which slow a CPU down many times.
    torch.set_flush_denormal(True)
