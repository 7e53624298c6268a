"""Nightly retraining: a day's partition -> a challenger -> a decision -> one atomic pointer.

partition -> idf -> embed -> train -> export -> contest -> gate -> promotion -> report
"""
