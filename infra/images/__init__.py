"""Container images: how each starts from the settings."""
