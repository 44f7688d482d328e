"""Run independent jobs in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from typing import Any

import torch

from running import processes

Job = Callable[[Callable[[Any], None]], Any]


def run_jobs(jobs: Sequence[Job], on_report: Callable[[Any], None], device: torch.device, fewest: int = 1) -> list[Any]:
    """Return the results of jobs, in order.

    Each job can be pickled and is called with a function that takes reports of its progress, which ``on_report`` receives.
    Jobs on a CPU run in parallel; those on another device, under torchrun, or fewer than ``fewest`` run one by one.
    """
    if processes.count() > 1:
        use_one_thread()
    if processes.count() > 1 or len(jobs) < fewest:
        return [job(on_report) for job in jobs]
    workers = min(len(jobs), os.cpu_count() or 1) if device.type == "cpu" else 1
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of NumPy in the workers
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    with ProcessPoolExecutor(workers, context, start_worker, (reports,)) as pool:
        futures = [pool.submit(run_job, job) for job in jobs]
        waiting = set(futures)
        while waiting:
            waiting = wait(waiting, timeout=0.2).not_done
            while not reports.empty():
                on_report(reports.get())
        return [future.result() for future in futures]


def start_worker(reports: Any) -> None:
    """Set up a process of the pool."""
    run_job.report = reports.put  # type: ignore[attr-defined]  # a queue can be passed to a process only as it starts
    processes.end_with_parent()
    use_one_thread()


def run_job(job: Job) -> Any:
    """Return the result of a job in a process of the pool."""
    return job(run_job.report)  # type: ignore[attr-defined]


def use_one_thread() -> None:
    """Set torch up for many small products on one core."""
    # Threads that wait for each other within such products stall when other programs use the cores.
    torch.set_num_threads(1)
    # Gradients of a saturated LSTM fade into denormal numbers, which slow a CPU down many times.
    torch.set_flush_denormal(True)
