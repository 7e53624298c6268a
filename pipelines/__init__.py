"""Beam jobs: corpus -> IDF table (`idf`); corpus -> teacher store (`teacher`); the demo's sample."""
