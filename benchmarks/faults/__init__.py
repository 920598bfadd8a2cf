"""Faults brought about on purpose: spoilt files, kills, interrupts, full disks, little memory.

`python -m benchmarks.faults` runs the long versions; the tests call the same functions with less.
"""
