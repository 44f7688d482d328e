"""Fit the factors of a network: to a tensor, to other factors, to what a matrix does to inputs."""
