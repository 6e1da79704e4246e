"""What the DAG files share: one operator, the assets, the defaults. The only package that imports Airflow."""
