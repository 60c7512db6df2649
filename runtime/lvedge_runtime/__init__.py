"""The runtime: sources, the stream, engines and sinks. Runs without torch."""
