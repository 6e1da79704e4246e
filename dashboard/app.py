"""The analysts' page: which bundle served, what was clicked, how the models rank, how the DAGs went.

Run: `streamlit run dashboard/app.py`. Reads ClickHouse with the queries of `bookworks.contracts.queries`.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st
from clickhouse_connect.driver.exceptions import ClickHouseError

from bookworks.adapters.clickhouse import connect
from bookworks.contracts.queries import QUERIES
from bookworks.errors import BookworksError, TransientError
from bookworks.settings import Settings, get_settings


def ask(settings: Settings, name: str) -> pd.DataFrame:
    """The answer to one named query.

    Raises:
        TransientError: ClickHouse is away, or its tables are not made yet.
    """
    client = connect(settings)
    try:
        return client.query_df(QUERIES[name])
    except ClickHouseError as error:
        raise TransientError(
            f"ClickHouse did not answer the query {name}",
            received=str(error).strip().splitlines()[0],
            todo="start it with `bookworks up clickhouse`; it makes its tables.",
        ) from error
    finally:
        client.close()


def show_bundles(answer: pd.DataFrame) -> None:
    """How much each bundle version served."""
    st.bar_chart(answer, x="bundle_version", y="recommendations")


def show_click_through(answer: pd.DataFrame) -> None:
    """Clicks per shown book on each surface; decisions and plain events apart."""
    shown = answer[answer["shown"] > 0]
    st.bar_chart(shown, x="surface", y="click_through", color="counted_from", stack=False)


def show_ndcg(answer: pd.DataFrame) -> None:
    """NDCG of each model of the chosen bundle version, beside the floors that ran with it."""
    version = st.selectbox("Bundle version", answer["bundle_version"].unique())
    chosen = answer[answer["bundle_version"] == version]
    k = st.selectbox("Length of the list", sorted(chosen["k"].unique()))
    st.bar_chart(chosen[chosen["k"] == k], x="model", y="ndcg")


def show_runs(answer: pd.DataFrame) -> None:
    """How many runs of each DAG ended how."""
    counts = answer.groupby(["dag_id", "state"], as_index=False).size()
    st.bar_chart(counts, x="dag_id", y="size", color="state")


SECTIONS: dict[str, tuple[str, Callable[[pd.DataFrame], None]]] = {
    "recommendations_per_bundle": ("Recommendations per bundle version", show_bundles),
    "click_through_per_surface": ("Click-through per surface", show_click_through),
    "ndcg_by_model_version": ("NDCG by model version", show_ndcg),
    "pipeline_runs": ("Pipeline runs", show_runs),
}


def section(settings: Settings, name: str) -> None:
    """One query: a chart, the rows behind it, and the SQL that gave them."""
    title, show = SECTIONS[name]
    st.header(title)
    answer = ask(settings, name)
    if answer.empty:
        st.info("Nothing recorded yet.")
    else:
        show(answer)
        st.dataframe(answer, hide_index=True)
    with st.expander("SQL"):
        st.code(QUERIES[name].strip(), language="sql")


def page() -> None:
    """The whole page; an outage is said in words."""
    st.set_page_config(page_title="bookworks", layout="wide")
    st.title("bookworks")
    try:
        settings = get_settings()
        for name in SECTIONS:
            section(settings, name)
    except BookworksError as error:
        st.error(str(error))


page()
