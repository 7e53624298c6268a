"""Ray Train jobs: store -> student (`train`) -> export -> evaluation; the encoder that serves."""
