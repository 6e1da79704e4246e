"""One file per outside system. Nothing connects at import; vendor errors leave as ours."""
