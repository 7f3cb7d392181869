"""Training with truncated backpropagation through time, from a seed to a model directory."""
