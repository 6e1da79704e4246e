"""Where the platform runs: local servers, compose, images."""
