"""A frozen suite of games, and the score of whoever plays it or hands in masks."""
