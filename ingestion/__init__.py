"""Files and streams into the lake, Redis and ClickHouse."""
