"""Interactive segmentation: sessions that compute only what a click changes, and simulated clicks."""
