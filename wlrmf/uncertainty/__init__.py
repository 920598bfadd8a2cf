"""Error bars: what the noise of the cells leaves uncertain of predictions and factors."""

from .answer import ErrorBars, FactorStd, measure

__all__ = ["ErrorBars", "FactorStd", "measure"]
