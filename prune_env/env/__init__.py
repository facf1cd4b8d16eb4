"""The game: head pruning as a Gymnasium environment."""
