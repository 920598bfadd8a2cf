"""Measurements; ``python -m benchmarks`` and ``python -m benchmarks.NAME``.

No kind of processor is set for OpenBLAS, which would hold it, and some libraries, below their best.
"""

import os

os.environ.pop("OPENBLAS_CORETYPE", None)  # read when NumPy is imported
