"""Spark: clean the catalogue, cluster editions into works, dedupe interactions, load the warehouse."""
