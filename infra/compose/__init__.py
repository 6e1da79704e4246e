"""The platform in containers on one machine."""
