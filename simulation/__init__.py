"""Readers and books with known truth."""
