"""Tensor networks as data, and their operations: products, gradients, sums, rounding."""

from tensorly_rnn.network.network import Cost, Network, Pass

__all__ = ["Cost", "Network", "Pass"]
