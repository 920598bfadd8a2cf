"""The only judge of user input. Below it, arrays are finite, native, contiguous and agree."""

from .cells import Cells, read_cells
from .errors import ConvergenceWarning, DataWarning, NotConvergedError

__all__ = ["Cells", "ConvergenceWarning", "DataWarning", "NotConvergedError", "read_cells"]
