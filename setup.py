"""So that Beam's ``--setup_file ./setup.py`` can build the package; pyproject.toml has the rest."""

from setuptools import setup

setup()
