"""A Qdrant server for tests: what the service asks of one over HTTP, answered by Qdrant's engine from a folder.

The server's own program comes as an image only. Here the client, the network and the engine are real, not the routes.
`python -m tests.support.qdrant_server FOLDER PORT`
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bookworks.adapters.qdrant import EdgeCollection, EdgeStore


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The server as a process of its own."""
    return subprocess.Popen([sys.executable, "-m", __name__, str(folder), str(port)])


def app(store: EdgeStore) -> Starlette:
    """The routes over a folder of collections."""
    opened: dict[str, EdgeCollection] = {}

    def collection(request: Request) -> EdgeCollection:
        name = request.path_params["name"]
        if name not in opened:
            found = store.open(name)
            if found is None:
                raise HTTPException(404)
            opened[name] = found
        return opened[name]

    async def exists(request: Request) -> JSONResponse:
        return _result({"exists": request.path_params["name"] in store.names()})

    async def aliases(_: Request) -> JSONResponse:
        return _result({"aliases": []})

    async def count(request: Request) -> JSONResponse:
        return _result({"count": collection(request).size})

    async def query(request: Request) -> JSONResponse:
        asked = await request.json()
        ids, scores = collection(request).search(
            np.asarray(asked["query"]["nearest"], dtype=np.float32), asked["limit"]
        )
        found = zip(ids.tolist(), scores.tolist(), strict=True)
        return _result({"points": [{"id": id_, "version": 0, "score": score} for id_, score in found]})

    return Starlette(
        routes=[
            Route("/aliases", aliases),
            Route("/collections/{name}/exists", exists),
            Route("/collections/{name}/points/count", count, methods=["POST"]),
            Route("/collections/{name}/points/query", query, methods=["POST"]),
        ]
    )


def _result(result: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"result": result, "status": "ok", "time": 0.0})


if __name__ == "__main__":
    uvicorn.run(app(EdgeStore(Path(sys.argv[1]))), port=int(sys.argv[2]), log_level="warning")
