"""So that Beam's ``--setup_file ./setup.py`` can build the package; all else is in pyproject.toml."""

from setuptools import setup

setup()
