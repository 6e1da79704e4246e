"""What scores and ranks, in training and in service alike.

It needs numpy, scipy, pyarrow, onnxruntime, numba, and LightGBM's library without its Python package.
"""
