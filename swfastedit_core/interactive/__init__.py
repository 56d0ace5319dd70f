"""Interactive segmentation: sessions of clicks, and simulated clicks."""
