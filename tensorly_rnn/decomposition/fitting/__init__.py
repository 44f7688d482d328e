"""Fit the factors of a network: to a tensor, to other factors, to the products of a matrix with inputs."""
