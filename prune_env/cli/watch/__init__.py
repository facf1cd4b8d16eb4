"""`prune-env watch`: a page that shows a run while it goes on, or replays it."""
