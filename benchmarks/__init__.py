"""Measurements on data that users fetch themselves; run as ``python -m benchmarks.NAME``."""
