"""k-NN graphs of images, and label propagation on them."""
