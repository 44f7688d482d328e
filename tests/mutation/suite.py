"""The suites: for each room tests on NumPy that take 20 s or less together."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Files of the library, and the test files that are most likely to notice a change of them."""

    name: str
    paths: tuple[str, ...]
    tests: tuple[str, ...]

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
    ),
    Room("gradients", ("tensorly_rnn/gradients.py",), ("tests/test_gradients.py",)),
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
    ),
)

#: Parts of the names of tests that are left out: they need another backend, or take long for what they see.
LEFT_OUT = (
    "jax",
    "torch",
    # formats
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
    # operations
    "across_formats[tt",
    "across_formats[ht",
    "across_formats[tr-b",
    "across_formats[tr-h",
    "across_formats[bt",
    "planning_stays_quick",
    "plans_of_many_factors",
    "the_page",
    "the_exponents_are",
    "every_difference_from",
    "a_line_through_points",
    # gradients
    "five_ways_agree",
    "forward_products[tr-((1, 1",
    "forward_products[ht-((4, 4",
    "forward_products[ht-((16,",
    "forward_products[bt-((16,",
    # decomposition
    "second_order_recovers",
    "planted_rings_are_recovered[0",
    "planted_rings_are_recovered[1",
    "planted_rings_are_recovered[2",
    "planted_rings_are_recovered[3",
    "planted_rings_are_recovered[4",
    "planted_rings_are_recovered[5",
    "planted_rings_are_recovered[7",
    "planted_rings_are_recovered[8",
    "planted_rings_are_recovered[9",
    "three_hard_blocks",
    "planted_matrix",
    "more_budget_is_never_worse",
    "the_baseline_is",
    "decomposition.best_format.best_format",
    "a_budget_is_never_exceeded[bt",
    "the_error_asked_for_is_kept[dense",
    "the_error_asked_for_is_kept[network-0.6-bt",
    "alike_rounds_to_one[dense",
    "alike_rounds_to_one[network-numpy-bt",
    "a_fit_at_a_rank_is_as_good_as_factorizing_the_dense_matrix[dense",
    "ranks_never_grow[dense",
    "ranks_never_grow[network-bt",
    "trained_on_digits",
    "a_rank_given_besides",
    "no_second_dense_copy",
    "the_error_asked_for_is_kept[network-0.02-bt",
    "the_error_asked_for_is_kept[numpy-bt",
    "stay_in_memory",
    "more_rank_is_never_worse",
    "more_starts_never_do_worse",
    "a_callback_stops_all_starts",
    "blocks_asked_for_by_their_error",
    "matrix_free_steps_are_the_dense_ones[ht",
)


def room_of(path: str) -> Room:
    """Return the room of a mutated file."""
    return next(room for room in ROOMS for one in room.paths if path.startswith(one))


def selection(path: str) -> list[str]:
    """Return what is run for a mutated file: its own doctests, the tests of that name, then its room's others and doctests."""
    room = room_of(path)
    name = Path(path).stem.strip("_")
    return [path, *sorted(room.tests, key=lambda test: name not in test), *room.paths]
