"""Rank and ridge by the error on cells that no fit has seen."""

from .choice import select
from .result import Selection, Trial

__all__ = ["Selection", "Trial", "select"]
