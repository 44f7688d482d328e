"""Run the tests on random mutants of the library, which cosmic-ray makes, and print the mutants that survive.

    python tests/mutation.py [--mutants 300] [--seed 0] [--tests "TEST ..."] [--session mutation.sqlite] [PATH ...]

A mutant replaces a file of the working tree while its tests run. A run that was interrupted continues from its session file.
"""

import argparse
import os
import random
import time
from collections import defaultdict
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.modules import find_modules
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import use_db

# The tests of a folder or file, the likeliest to fail first; any other file runs all tests.
TESTS = {
    "cli": "test_cli",
    "contraction": "test_contraction test_cost test_tuning test_gradients",
    "decomposition": "test_decomposition test_hierarchical_tucker test_fit test_refit test_rank_search test_budgets "
    "test_calibrate test_hardening test_tensor_forms",
    "files": "test_files test_cli",
    "formats": "test_identities test_bad_input test_format_laws test_tensor_forms test_lstsq_grad test_arithmetic "
    "test_hardening test_rounding test_formats",
    "network": "test_gradients test_arithmetic test_rounding test_lstsq_grad test_tuning test_cost test_identities",
    "nn": "nn/test_linear nn/test_convert nn/test_recurrent_layers nn/test_recurrent_cells nn",
    "plot": "test_plot",
    "recurrent": "test_recurrent nn/test_recurrent_layers",
    "testing": "test_testing test_format_laws",
    "_backend.py": "test_backends test_bad_input test_hardening test_numerics test_decomposition test_fit",
    "_checks.py": "test_bad_input test_budgets test_fuzz",
    "_memoize.py": "test_threads test_tracing test_contraction",
    "_svd.py": "test_svd test_decomposition",
    "tensorize.py": "test_tensorize test_bad_input test_cost",
}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("paths", nargs="*", type=Path, default=[Path("tensorly_rnn")], metavar="PATH")
parser.add_argument("--mutants", type=int, default=300)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--tests", help="the tests of every mutant")
parser.add_argument("--session", default="mutation.sqlite")
options = parser.parse_args()
os.environ |= {"TEST_BACKENDS": "numpy", "OMP_NUM_THREADS": "1", "CI": "1"}  # CI: the same hypothesis examples each time
limits: dict[str, float] = {}
with use_db(options.session) as session:
    if not session.num_work_items:
        init(sorted(find_modules(options.paths)), session, {})
        places = defaultdict(list)  # drawn first: a place of one operator has up to eleven mutants
        for item in sorted(session.work_items, key=lambda item: repr(item.mutations)):
            if "BitOr_" not in item.mutations[0].operator_name:  # in type hints
                places[str(item.mutations[0].module_path), item.mutations[0].start_pos].append(item)
        rng = random.Random(options.seed)
        drawn = rng.sample(sorted(places), min(options.mutants, len(places)))
        session.clear()
        session.add_work_items(rng.choice(places[place]) for place in drawn)
    for item in session.pending_work_items:
        names = TESTS.get(item.mutations[0].module_path.parts[1], "").split()
        files = (f"tests/{name}" if name == "nn" else f"tests/{name}.py" for name in names)
        command = f"python -m pytest -n 0 -x -q -p no:cacheprovider {options.tests or ' '.join(files) or 'tests'}"
        if command not in limits:
            start = time.monotonic()
            if run_tests(command, None)[0].value != "survived":
                raise SystemExit(f"these tests fail without a mutant: {command}")
            limits[command] = 10 + 3 * (time.monotonic() - start)
        session.set_result(item.job_id, mutate_and_test(item.mutations, command, limits[command]))
    outcomes = [("timed out" if r.output == "timeout" else r.test_outcome.value, r.diff) for _, r in session.results]
print(*(diff for outcome, diff in outcomes if outcome == "survived"), sep="\n")
print(*(f"{sum(outcome == name for outcome, _ in outcomes)} {name}" for name in ("killed", "survived", "timed out")), sep=", ")
