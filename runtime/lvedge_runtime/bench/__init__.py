"""The bench: where a frame's milliseconds go, what the machine could do, whether the results hold."""
