"""A model in one line, and as the small page that a notebook shows."""

from __future__ import annotations

import html as html_escape
import math
from typing import Any

WIDTH, HEIGHT, MARGIN = 360, 120, 8


def one_line(model: Any) -> str:
    """``Factorization(rank 2, 25 × 30, value 1.23, converged: ...)``."""
    m, n = model.shape
    bias = " + biases" if model.has_bias else ""
    return (
        f"Factorization(rank {model.rank}{bias}, {m} × {n}, value {model.value:.6g}, "
        f"{model.solver} after {model.n_iter} iterations: {model.status.value})"
    )


def html(model: Any) -> str:
    """The line above and the convergence as an inline SVG."""
    return (
        f"<div><p><code>{html_escape.escape(one_line(model))}</code></p>"
        f"{convergence_svg(model.trace.value)}</div>"
    )


def convergence_svg(values: list[float]) -> str:
    """Value against iteration: log10 of the distance to the least one, a straight line if the
    convergence is linear.
    """
    least = min(values, default=0.0)
    gaps = [v - least for v in values if math.isfinite(v) and v > least]
    if len(gaps) < 2:
        return ""
    logs = [math.log10(gap) for gap in gaps]
    low, high = min(logs), max(logs)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * MARGIN) / (len(logs) - 1)
    points = " ".join(
        f"{MARGIN + k * step:.1f},{MARGIN + (high - y) / span * (HEIGHT - 2 * MARGIN):.1f}"
        for k, y in enumerate(logs)
    )
    label = f"value above its end: 10^{high:.1f} to 10^{low:.1f} in {len(values) - 1} iterations"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'width="{WIDTH}" height="{HEIGHT + 20}" viewBox="0 0 {WIDTH} {HEIGHT + 20}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="{MARGIN}" y="{HEIGHT + 14}" font-size="11" fill="currentColor">{label}</text>'
        "</svg>"
    )
