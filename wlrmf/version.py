"""The version of the installed package: setup.cfg's, which is its only place."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """Version, or "0+unknown" from a source tree that is not installed."""
    try:
        return installed("wlrmf")
    except PackageNotFoundError:
        return "0+unknown"
