"""The suites: for each room tests on NumPy that take 20 s or less together."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Files of the library, the test files, or single tests of them, that face their mutants, and parts of the names of tests left out.

    Left out are tests on other backends, and those that take long for what they see: most that see something at several
    sizes or in several formats keep the quick ones.
    """

    name: str
    paths: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: tuple[str, ...]

    def files(self, root: Path) -> list[str]:
        """Return the room's source files, by path from the root."""
        found = [one for path in self.paths for one in ((root / path).rglob("*.py") if "." not in path else [root / path])]
        return sorted(str(one.relative_to(root)) for one in found if one.name != "__init__.py")

    def test_files(self) -> list[str]:
        """Return the test files, by path from the root, also of which some tests are taken only."""
        return sorted({test.partition("::")[0] for test in self.tests})


ROOMS = (
    Room(
        "formats",
        ("tensorly_rnn/formats",),
        (
            "tests/test_identities.py",
            "tests/test_bad_input.py",
            "tests/test_format_laws.py",
            "tests/test_tensor_forms.py",
            "tests/test_lstsq_grad.py",
            "tests/test_arithmetic.py::test_wrong_scalars_are_refused",
            "tests/test_arithmetic.py::test_wrong_terms_are_refused",
            "tests/test_arithmetic.py::test_transposes",
            "tests/test_rounding.py::test_wrong_arguments_are_refused",
            "tests/test_cost.py::test_one_row_is_counted_unless_more_are_asked_for",
            "tests/test_decomposition.py::test_rows_that_do_not_divide_into_the_stack_are_refused",
            "tests/test_hardening.py::test_trees_of_another_number_of_leaves_are_refused",
            "tests/test_hardening.py::test_trees_are_seen",
        ),
        (
            "jax",
            "second_derivatives",
            "many_modes-ht",
            "many_modes-bt",
            "many_modes-tr",
            "the_standard_deviation_asked_for[ht",
            "untouched-bt",
            "agree[numpy-block_term",
            "tell_of_every_step[block_term",
            "a_start_of_ones_own",
            "by_differences_and_autograd[tr",
        ),
    ),
    Room(
        "operations",
        (
            "tensorly_rnn/operations.py",
            "tensorly_rnn/contraction.py",
            "tensorly_rnn/network.py",
            "tensorly_rnn/arithmetic.py",
            "tensorly_rnn/trees.py",
        ),
        (
            "tests/test_contraction.py",
            "tests/test_arithmetic.py",
            "tests/test_cost.py",
            "tests/test_rounding.py",
            "tests/test_bad_input.py::test_every_index_has_a_size",
        ),
        (
            "jax",
            "across_formats[tt",
            "across_formats[ht",
            "across_formats[bt",
            "across_formats[tr-b",
            "across_formats[tr-h",
            "planning_stays_quick",
            "plans_of_many_factors",
            "the_page",
            "the_exponents_are",
            "every_difference_from",
            "a_line_through_points",
        ),
    ),
    Room(
        "gradients",
        ("tensorly_rnn/gradients.py",),
        ("tests/test_gradients.py",),
        ("jax", "five_ways_agree[ht"),
    ),
    Room(
        "decomposition",
        ("tensorly_rnn/decomposition",),
        (
            "tests/test_hierarchical_tucker.py",
            "tests/test_decomposition.py",
            "tests/test_fit.py",
            "tests/test_refit.py",
            "tests/test_rank_search.py",
            "tests/test_budgets.py",
            "tests/test_calibrate.py",
            "tests/test_hardening.py::test_a_start_that_is_broken_is_refused",
            "tests/test_tensor_forms.py::test_a_start_of_ones_own",
            "tests/test_tensor_forms.py::test_functions_and_classes_agree",
        ),
        (
            "jax",
            "torch",
            # of best_format
            "best_format.best_format",
            "of_the_planted_matrix",
            "by_error_the_smallest",
            "the_baseline_is",
            "plots_return_axes",
            # of budgets
            "more_budget_is_never_worse",
            "never_exceeded[bt",
            "never_exceeded[tr",
            "never_exceeded[ht",
            "is_spent[ht-float64",
            "no_more_than_itself[ht",
            # of rank_search
            "is_the_planted_one",
            "are_the_planted_ones",
            "a_rank_given_besides",
            "is_certain[bt",
            "is_kept[numpy-bt",
            # of fits
            "second_order_recovers",
            "planted_rings_are_recovered",
            "planted_blocks_are_recovered",
            "three_hard_blocks",
            "well_separated",
            "noise_is_fitted",
            "more_starts_never_do_worse",
            "a_start_near_the_truth",
            "converge_like_dense_ones[ht",
            "a_callback_stops_all_starts",
            "one_line_an_iteration_to_standard_error[auto",
            "error[numpy-bt",
            "compression_lost[bt",
            "matrix_free_steps_are_the_dense_ones[ht",
            "matrix_free_steps_are_the_dense_ones[bt",
            "converges_at_once[ht",
            "converges_at_once[bt",
            "stops_nothing",
            # of refit
            "is_kept[dense",
            "is_kept[network",
            "alike_rounds_to_one[dense",
            "alike_rounds_to_one[network",
            "as_good_as_factorizing",
            "ranks_never_grow[dense",
            "ranks_never_grow[network-bt",
            "refitted_too",
            "padding_are_kept",
            # of the direct algorithms and what all go through
            "trained_on_digits",
            "no_second_dense_copy",
            "stay_in_memory",
            "more_rank_is_never_worse",
            "lists_are_not_changed[bt",
            "same_result[bt",
            "as_good_as_tensorlys",
            "orders_to_twenty",
            "low_rank_is_recovered[leaves_to_root-(",
            "low_rank_is_recovered[root_to_leaves-(",
            "is_kept[numpy-leaves_to_root-((",
            "is_kept[numpy-root_to_leaves-((",
            "keeps_its_bound[leaves_to_root-(((",
            "its_start[5-",
            "does_not_matter[1e-07",
            "does_not_matter[1e-200-bt",
            "agree[numpy-block_term",
        ),
    ),
)


def room_of(path: str) -> Room:
    """Return the room of a mutated file."""
    return next(room for room in ROOMS for one in room.paths if path.startswith(one))


def selection(path: str) -> list[str]:
    """Return what is run for a mutated file: its own doctests, the tests of that name, then its room's others and doctests."""
    room = room_of(path)
    name = Path(path).stem.strip("_")
    return [path, *sorted(room.tests, key=lambda test: name not in test), *room.paths]
