"""Peer: FastAPI as tutorials show it. The handler takes an UploadFile and runs the network on one picture at a time.

https://fastapi.tiangolo.com/tutorial/request-files/ – run: python -m benchmarks.peers.tutorial PORT
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, UploadFile

from benchmarks.peers.network import Network, read

app = FastAPI()
network = Network()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    return network(read(await file.read())[None])[0]


@app.post("/raw")
async def raw(request: Request) -> dict[str, Any]:
    return network(read(await request.body())[None])[0]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
