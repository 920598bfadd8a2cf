"""One small file a library. Each offers, by these names:

`SETTINGS`
    Its ways to solve, by name: keyword arguments of `fit`.
`DTYPE`
    What it computes in.
`cannot(spec)`
    Why it cannot do a case, or "".
`prepare(case, threads)`
    What its users would make of their data once: the clock does not run.
`fit(data, case, rank, iterations, threads, seed, **setting)`
    A fit from scratch, timed: (W, X) of shapes (m, rank) and (n, rank).

The library itself is imported inside the functions: the files are also read where it is not there.
"""
