"""Work identity: which editions are one book."""
