"""Data sources, one file each; `registry` knows them all."""
