"""The suites: for each room tests on NumPy that take 20 s or less together."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Files of the library, the test files that face their mutants, and parts of the names of tests left out.

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
        ),
        (
            "jax",
            "torch",
            "second_derivatives",
            "many_modes-ht",
            "many_modes-bt",
            "many_modes-tr",
            "the_standard_deviation_asked_for[ht",
            "untouched-bt",
            "agree[numpy-block_term",
            "a_start_of_ones_own",
            "by_differences_and_autograd[tr",
            "by_differences_and_autograd[bt",
        ),
    ),
    Room(
        "operations",
        (
            "tensorly_rnn/operations.py",
            "tensorly_rnn/contraction.py",
            "tensorly_rnn/network.py",
            "tensorly_rnn/arithmetic.py",
            "tensorly_rnn/tree_network.py",
        ),
        ("tests/test_contraction.py", "tests/test_arithmetic.py", "tests/test_cost.py", "tests/test_rounding.py"),
        (
            "jax",
            "torch",
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
        (
            "jax",
            "torch",
            "five_ways_agree",
            "forward_products[tr-((1, 1",
            "forward_products[ht-((4, 4",
            "forward_products[ht-((16,",
            "forward_products[bt-((16,",
        ),
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
        ),
        (
            "jax",
            "torch",
            # of best_format
            "best_format.best_format",
            "of_the_planted_matrix",
            "the_baseline_is",
            "the_table_names",
            "plots_return_axes",
            # of budgets
            "more_budget_is_never_worse",
            "never_exceeded[bt",
            "never_exceeded[tr",
            "never_exceeded[ht",
            # of rank_search
            "is_the_planted_one[0",
            "is_the_planted_one[2",
            "is_the_planted_one[3",
            "is_the_planted_one[4",
            "is_the_planted_one[5",
            "are_the_planted_ones",
            "a_rank_given_besides",
            "is_certain[bt",
            "is_kept[numpy-bt",
            # of fits
            "second_order_recovers",
            "planted_rings_are_recovered",
            "three_hard_blocks",
            "well_separated",
            "noise_is_fitted",
            "more_starts_never_do_worse",
            "a_callback_stops_all_starts",
            "compression_lost[bt-rank",
            "matrix_free_steps_are_the_dense_ones[ht",
            "matrix_free_steps_are_the_dense_ones[bt",
            "converges_at_once[ht",
            "converges_at_once[bt",
            # of refit
            "is_kept[dense",
            "is_kept[network",
            "alike_rounds_to_one[dense",
            "alike_rounds_to_one[network-numpy-bt",
            "as_good_as_factorizing",
            "ranks_never_grow[dense",
            "ranks_never_grow[network-bt",
            "refitted_too[dense",
            "padding_are_kept[dense",
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
