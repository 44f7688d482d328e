"""Tensor networks as data, and the operations that every network has: products, gradients, sums, rounding."""

from tensorly_rnn.network.network import Cost, Network, Pass

__all__ = ["Cost", "Network", "Pass"]
