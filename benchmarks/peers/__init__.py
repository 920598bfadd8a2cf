"""One small file a library. Each offers, by these names:

`SETTINGS`
    Its ways to solve, by name: keyword arguments of `fit`.
`DTYPE`
    What it computes in.
`cannot(spec)`
    Why it cannot do a case, or "".
`settings(spec)`, if they do not all serve all cases
    The names of those that serve this one.
`prepare(case, threads)`
    What its users would make of their data once: the clock does not run.
`fit(data, case, rank, iterations, threads, seed, **setting)`
    A fit from scratch, timed: (W, X) of shapes (m, rank) and (n, rank), or wider where levels of
    rows and columns are fitted too; that is another objective, so only the error counts.

`implicit_only` is the `cannot` of libraries that have the implicit model with a plain ridge alone.

The library itself is imported inside the functions: the files are also read where it is not there.
"""


def implicit_only(spec):
    if spec.kind != "implicit":
        return "has the implicit model only"
    return "its ridge is plain" if spec.scaled else ""
