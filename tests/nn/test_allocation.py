"""One number of parameters for a whole model, distributed over its weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tensorly_rnn.nn import factorize_module
from tensorly_rnn.nn.conversion.allocation import Weight, allocate, least_parameters
from tests.nn.test_mode_choice import decaying_
from tests.strategies import examples, refused

weights = st.builds(
    lambda rows, columns, power, core: Weight(
        (rows, columns), np.arange(1, min(rows, columns) + 1.0) ** -power, core, False
    ),
    st.integers(2, 30), st.integers(2, 30), st.floats(0.0, 3.0), st.sampled_from([0, 1]),
)  # fmt: skip


def lost(weight, n_param):
    """Return the relative squared error of the highest rank of at most that many parameters."""
    rank = max(rank for rank in range(1, len(weight.energies) + 1) if weight.n_param(rank) <= n_param)
    return float(weight.energies[rank:].sum() / weight.energies.sum())


@given(some=st.lists(weights, min_size=1, max_size=4), share=st.floats(0.0, 1.0))
@examples(40)
def test_nothing_is_gained_by_moving_a_rank_to_another_weight(some, share):
    dense = sum(one.shape[0] * one.shape[1] for one in some)
    least = least_parameters(some)
    budget = least + int(share * max(dense - least, 0))
    found = allocate(some, budget)
    assert sum(found) <= budget
    for one, n_param in zip(some, found):
        rank = next(rank for rank in range(1, len(one.energies) + 1) if one.n_param(rank) == n_param)
        # What the last rank gained for a parameter, no other weight gains by its next one.
        if rank > 1:
            gained = one.energies[rank - 1] / one.energies.sum() / (one.n_param(rank) - one.n_param(rank - 1))
            for other, count in zip(some, found):
                above = next((k for k in range(1, len(other.energies)) if other.n_param(k) == count), None)
                fits = above is not None and other.n_param(above + 1) < other.shape[0] * other.shape[1]
                if fits and sum(found) - count + other.n_param(above + 1) <= budget:
                    gain = other.energies[above] / other.energies.sum() / (other.n_param(above + 1) - count)
                    assert gain <= gained * (1 + 1e-9)


def model():
    torch.manual_seed(0)
    flat = nn.Linear(60, 50)  # of singular values that hardly fall
    return nn.Sequential(decaying_(nn.Linear(80, 60)), nn.Tanh(), flat, nn.Tanh(), decaying_(nn.Linear(50, 40)))


@pytest.mark.parametrize("name", ["tt", "ht"])
@pytest.mark.parametrize("ratio", [1.5, 4])
def test_the_whole_model_has_the_ratio_and_less_error_than_even_shares(name, ratio):
    dense = model()
    small, report = factorize_module(dense, factorization=name, compression_ratio=ratio, scope="model")
    before = sum(one.numel() for one in dense.parameters())
    after = sum(one.numel() for one in small.parameters())
    assert (report.n_param_before, report.n_param) == (before, after)
    assert 0.93 * before / ratio < after <= before / ratio
    # Even shares of the same parameters in the weights.
    in_weights = sum(row.n_param_before for row in report) / sum(row.n_param for row in report)
    _, even = factorize_module(dense, factorization=name, compression_ratio=in_weights)
    assert sum(row.error**2 for row in report) <= sum(row.error**2 for row in even)


def test_linear_layers_for_which_nothing_is_gained_stay_dense():
    _, report = factorize_module(model(), factorization="tt", compression_ratio=1.1, scope="model")
    assert {row.note for row in report.kept} == {"the whole model gains more elsewhere"}
    assert "2" in {row.name for row in report.kept} and report.n_param_before / report.n_param >= 1.1


def test_recurrent_weights_have_counts_of_their_own_and_outputs_count_with_a_calibration():
    dense = nn.LSTM(40, 24)
    decaying_(dense)
    small, report = factorize_module(dense, factorization="tt", decompose="layerwise", n_param=3000, scope="model")
    assert sum(one.numel() for one in small.parameters()) <= 3000
    assert {row.name for row in report.replaced} == {"weight_ih_l0", "weight_hh_l0"}
    inputs = torch.randn(50, 4, 40) * 0.7 ** torch.arange(40.0)
    settings = {"factorization": "tt", "decompose": "layerwise", "calibration": inputs}
    _, by_outputs = factorize_module(dense, n_param=3000, scope="model", **settings)
    _, even = factorize_module(dense, compression_ratio=6144 / (3000 - 192), **settings)
    assert sum(row.output_error**2 for row in by_outputs) <= sum(row.output_error**2 for row in even)


def test_budgets_that_no_layer_can_meet_are_refused():
    dense = nn.Sequential(nn.Linear(20, 10), nn.LSTM(10, 30))
    refused(
        (ValueError, r"^compression_ratio must leave room for rank 1 of every weight and for what stays dense; expected at most "
         r"1\.\d+, got 5\. Select more layers, or decompose='layerwise'", lambda: factorize_module(dense, compression_ratio=5, scope="model")),
        (ValueError, r"^n_param must leave room .* expected at least \d+, got 5", lambda: factorize_module(dense, n_param=5, scope="model")),
        (ValueError, "^scope must be 'weight' for a rank or an error", lambda: factorize_module(dense, rank=3, scope="model")),
        (ValueError, "^scope must be known; expected one of", lambda: factorize_module(dense, n_param=300, scope="layer")),
        (ValueError, "^budget must leave room for rank 1; expected at least 30, got 3",
         lambda: allocate([Weight((10, 20), np.ones(10), 0, True)], 3)),
    )  # fmt: skip
