"""The HTTP ceiling: reads an upload as the service does and gives a constant answer.

Starlette on uvicorn, one process for each core, as the service has: each with a listening socket
of its own, on port BENCH_PORT.
"""

import multiprocessing
import os
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = (
    b'{"model":"cifar10","version":"1","predictions":[{"label":"cat","class_id":3,"probability":'
    b'0.761272},{"label":"dog","class_id":5,"probability":0.225517},{"label":"frog","class_id":6,'
    b'"probability":0.006936},{"label":"bird","class_id":2,"probability":0.002992},{"label":"deer",'
    b'"class_id":4,"probability":0.00177}],"unfamiliar":false,"image":{"width":32,"height":32,'
    b'"format":"JPEG"}}'
)


async def predict(request: Request) -> Response:
    if request.headers["content-type"].startswith("multipart/form-data"):
        async with request.form() as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            await file.read()
    else:
        await request.body()
    return Response(ANSWER, media_type="application/json")


def serve() -> None:
    """Serves until it is ended."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(os.environ["BENCH_PORT"])))
    app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    for _ in range(len(os.sched_getaffinity(0)) - 1):
        multiprocessing.Process(target=serve, daemon=True).start()
    serve()
