"""A training run: trainer, loss, records, states, signals, validation, export."""
