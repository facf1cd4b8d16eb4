"""Grids on Ray: `driver` sends cells and what they share as tasks, `tasks` runs them elsewhere."""
