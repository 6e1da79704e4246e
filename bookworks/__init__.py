"""bookworks: the shared kernel that every step imports."""
