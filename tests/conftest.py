"""Shared by all tests: the tiers, one thread a process, 64-bit JAX, Hypothesis profiles, and a check of global state."""

import os

# The tests' arrays are small, and two test processes share the cores. Set before the libraries read it.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# TensorFlow reports its own optimizations as it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
import tensorly
import torch

collect_ignore = ["mutation.py"]  # a program, which needs the extra `mutation`
jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("default", deadline=None, max_examples=10)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests as well")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.all and config.option.markexpr == "not slow":
        config.option.markexpr = ""


#: Beginnings of the ids of tests of more than five seconds whose code cheaper tests cover; slow besides those marked where they are.
LONGEST = (
    "tests/test_decomposition.py::test_the_error_asked_for_is_kept[numpy_read_only-ht]",
    "tests/test_format_laws.py::test_law[dtypes-tr-jax]",
    "tests/test_recurrent.py::test_every_backend[jax-LSTM",
    "tests/test_recover_weight.py::test_a_killed_run_goes_on_with_a_matrix_of_ones_own",
    "tests/test_benchmarks.py::test_case_a_has_the_papers_parameters",
    "tests/test_cost.py::test_the_exponents_are_the_theorys",
    "tests/test_fit.py::test_gram_matrix_is_that_of_the_jacobian[ht]",
    "tests/test_rank_search.py::test_the_error_asked_for_is_kept[numpy_read_only-bt]",
    "tests/test_refit.py::test_the_error_asked_for_is_kept[network-0.02-bt",
    "tests/test_fifth_format.py::test_it_keeps_the_laws_on_every_backend[pytorch]",
    "tests/test_testing.py::test_free_rank_indices_take_every_size_and_the_others_are_one[bt]",
    "tests/test_format_laws.py::test_law[padding-ht-jax]",
    "tests/test_arithmetic.py::test_gradients_flow_in_jax[tt]",
    "tests/nn/test_ecosystem.py::test_torch_compile_takes_all_batch_sizes_in_one_graph[ht-True]",
    "tensorly_rnn/decomposition/best_format.py",
    "tensorly_rnn/testing/laws.py",
    "tests/nn/test_autograd_unroll.py::test_first_and_second_derivatives[gru-[4, 4, 2, 1, 1]",
    "tests/nn/test_autograd_unroll.py::test_first_and_second_derivatives[lstm-[4, 4, 2, 1, 1]",
    "tests/nn/test_recurrent_layers.py::test_a_layer_learns_as_well_as_a_dense_one",
    "tests/test_action_recognition.py::test_an_unreadable_video_gives_one_clear_line",
    "tests/test_budgets.py::test_the_baseline_is_the_singular_value_decomposition",
    "tests/test_cost.py::test_plans_of_many_factors_beat_the_papers_orders[bt-14",
    "tests/test_cost.py::test_the_page_holds_what_the_functions_compute",
    "tests/test_decomposition.py::test_full_and_same_rank_stay_in_memory[bt]",
    "tests/test_docs.py::test_the_examples_of_the_docs_print_what_they_say[choosing_a_format]",
    "tests/test_docs.py::test_the_examples_of_the_docs_print_what_they_say[ecosystem]",
    "tests/test_docs.py::test_the_examples_of_the_docs_print_what_they_say[plots]",
    "tests/test_docs.py::test_the_examples_of_the_docs_print_what_they_say[train_compact]",
    "tests/test_fit.py::test_matrix_free_steps_are_the_dense_ones[ht]",
    "tests/test_fit.py::test_more_starts_never_do_worse",
    "tests/test_refit.py::test_the_error_asked_for_is_kept[dense-0.02-bt",
    "tests/test_refit.py::test_the_error_asked_for_is_kept[dense-0.2-bt",
    "tests/test_testing.py::test_free_rank_indices_take_every_size_and_the_others_are_one[ht]",
    "tests/test_threads.py::test_backends_loaded_for_the_first_time_at_once",
    "tests/test_tracing.py::test_torch_compile_may_be_the_first_use_of_torch",
    "tests/test_tracing.py::test_torch_compile_of_layers_in_one_graph[full]",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(LONGEST):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def global_state_is_unchanged() -> Iterator[None]:
    before = _global_state()
    yield
    assert _global_state() == before


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the example programs and their modules importable."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))


def _global_state() -> tuple:
    numpy_state = np.random.get_state()
    return (
        tensorly.get_backend(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        jax.config.jax_enable_x64,
        numpy_state[1].tobytes(),
        numpy_state[2],
    )
