"""Fine-tuning on clean data, and the phases that a strategy asks for."""
