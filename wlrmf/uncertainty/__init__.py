"""Error bars: what the noise of the cells leaves uncertain of predictions and factors."""

from .answer import FactorStd, Uncertainty, measure

__all__ = ["FactorStd", "Uncertainty", "measure"]
