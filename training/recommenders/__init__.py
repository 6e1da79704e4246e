"""The models as they rank; one file a family."""
