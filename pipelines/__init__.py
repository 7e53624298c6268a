"""Beam jobs: corpus -> IDF table; corpus -> teacher store; and the sample of the demo."""
