"""Training: one module per DVC stage; all work inside one run's workspace."""
