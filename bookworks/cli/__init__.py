"""The `bookworks` command."""
