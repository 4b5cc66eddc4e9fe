"""Truths, the ulp, and who is compared: what experiments and tests hold the functions to."""
