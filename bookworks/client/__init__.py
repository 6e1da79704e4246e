"""A client of the service: typed answers, repeats that count once, errors that carry the problem.

with Client("http://127.0.0.1:13000", api_key=key) as books:
    slate = books.recommend("r001", n=5)
    books.interactions([Interaction("click", work_id=slate.items[0].work_id, user_id="r001")])
"""

from bookworks.client.answers import (
    Book,
    BookPath,
    CurrentModels,
    Decision,
    Export,
    FoundBook,
    History,
    Interactions,
    Ready,
    Recommendations,
    RecommendedBook,
    Search,
    Signup,
    Similar,
    SimilarBook,
    Token,
    User,
    WhyNot,
)
from bookworks.client.calls import Client, Filters, Interaction
from bookworks.client.errors import ProblemError, ServiceAwayError

__all__ = [
    "Book",
    "BookPath",
    "Client",
    "CurrentModels",
    "Decision",
    "Export",
    "Filters",
    "FoundBook",
    "History",
    "Interaction",
    "Interactions",
    "ProblemError",
    "Ready",
    "Recommendations",
    "RecommendedBook",
    "Search",
    "ServiceAwayError",
    "Signup",
    "Similar",
    "SimilarBook",
    "Token",
    "User",
    "WhyNot",
]
