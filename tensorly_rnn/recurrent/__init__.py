"""Recurrent networks on any TensorLy backend: forward and back-propagation through time, without autograd."""
