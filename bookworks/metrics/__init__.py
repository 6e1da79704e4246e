"""Ranking metrics with bootstrap intervals over readers, vectorised with numpy."""
