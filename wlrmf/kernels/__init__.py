"""Compiled kernels: arrays and scalars in and out. Nothing here knows of problems or solvers.

Factors come in storage form, one contiguous row an entity: W is (m, rank), X is (n, rank).
"""
