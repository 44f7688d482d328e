"""Contraction of several arrays: plans, the choice of their order, a model of their cost, and their execution."""
