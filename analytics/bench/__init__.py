"""`bookworks bench`: speed on this machine, as medians with spread and as a ratio to a baseline of the same run."""

from analytics.bench.cli import app

__all__ = ["app"]
