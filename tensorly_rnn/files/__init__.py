"""Factorized matrices in safetensors files, by NumPy alone."""

from tensorly_rnn.files.factorized import load_factorized, save_factorized

__all__ = ["load_factorized", "save_factorized"]
