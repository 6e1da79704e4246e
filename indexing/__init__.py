"""Bundles into Qdrant, works into Neo4j."""
