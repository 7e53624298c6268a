"""Measurements: each file is a command of its own."""

import os

# Before torch is imported, as the commands do it: threads that wait must sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
