"""A FastAPI app as a tutorial writes it, with two workers of uvicorn."""

from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from tests.benchmark.peers.model import PORT, Model

app = FastAPI()
model = Model()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    return model.classify([await file.read()])[0]


if __name__ == "__main__":
    uvicorn.run(
        "tests.benchmark.peers.plain_fastapi:app",
        host="127.0.0.1",
        port=PORT,
        workers=2,
        access_log=False,
    )
