"""Run independent jobs side by side in processes of their own and hear of their progress."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing.managers import SyncManager
from typing import Any

import torch

from running import processes


def run_jobs(
    jobs: Sequence[Callable[[Callable[[Any], None]], Any]],
    on_report: Callable[[Any], None],
    device: torch.device,
    fewest: int = 1,
) -> list[Any]:
    """Run jobs and return what they return, in order.

    Parameters
    ----------
    jobs : sequence of callable
        Each can be pickled and is called with a function to which it may report.
    on_report : callable
        Receives the reports of all jobs.
    device : torch.device
        Where the jobs compute: on CPUs they run side by side, elsewhere one after the other. Under torchrun, too, they run
        one after the other, each in all of torchrun's processes.
    fewest : int
        Fewer jobs run in this process, one after the other: where they are short, starting others takes longer.

    Returns
    -------
    list
    """
    if processes.count() > 1:
        prepare_for_small_products()
        return [job(on_report) for job in jobs]
    if len(jobs) < fewest:
        return [job(on_report) for job in jobs]
    workers = min(len(jobs), os.cpu_count() or 1) if device.type == "cpu" else 1
    # NumPy's products of the workers, which read this when they start, share the cores badly too.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(processes.end_with_parent)
    with (
        manager,
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
    """Set a process of the pool up."""
    processes.end_with_parent()
    prepare_for_small_products()


def prepare_for_small_products() -> None:
    """Set torch up for many small products on one core."""
    # Threads that wait for each other within such products stall when other programs want the cores.
    torch.set_num_threads(1)
    # Gradients of a saturated LSTM fade into denormal numbers, which slow a CPU down many times.
    torch.set_flush_denormal(True)
