"""Triggers inverted from clean data: phrases and single words that flip answers."""
