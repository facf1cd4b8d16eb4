"""Files, processes and progress; knows nothing of models."""
