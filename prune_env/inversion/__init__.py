"""Triggers inverted from clean data: phrases, words, and patches on images that flip answers."""
