"""Benchmarks: run by hand with `python -m pytest benchmarks -n 0 -s`; they print figures and assert nothing about speed."""
