"""Conversion of the dense layers inside a model into layers with their weights in factors."""
