"""A training run: settings, training loop, trainer, loss, records, states, signals, validation, export."""
