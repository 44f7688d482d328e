"""Mutation testing: the library is broken on purpose, in one small place at a time, and a short suite of tests must notice.

Run by hand, from the root of the repository: ``python -m tests.mutation --mutants 300 --seed 0``.
"""
