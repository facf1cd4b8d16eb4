"""Recorded landscapes: many masks of one real model, and a surrogate that answers like it."""
