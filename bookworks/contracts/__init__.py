"""Names, schemas and paths that steps hand to each other; one file each."""
