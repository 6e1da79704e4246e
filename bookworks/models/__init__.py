"""What scores and ranks, in training and in service alike: numpy, scipy, pyarrow and onnxruntime only."""
