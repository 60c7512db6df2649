"""From a training run to what a device runs: ONNX graphs proven equal to the network, packed as a bundle."""
