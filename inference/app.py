"""The worker's HTTP face: routes over a scheduler. Knows no tensors, no processes and no endpoint files.

``POST /v1/infill`` and ``POST /v1/edit`` answer with one JSON object, or with server-sent events: ``draft``*, then
``result`` or ``error``. Closing the connection cancels, in either form. Every answer but 200 holds an
:class:`ErrorBody`.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inference.answer import Answer
from inference.body import read_json
from inference.compat import compat_routes
from inference.guard import Guard, http_exception, to_json
from inference.protocol import EditRequest, decode, infill_request
from inference.scheduler import Scheduler


def create_app(scheduler: Scheduler, *, token: str, loopback_only: bool) -> Starlette:
    """Return the ASGI application; ``loopback_only`` adds the checks that TCP needs (see :class:`Guard`)."""
    routes = _Routes(scheduler)
    app = Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/metrics", routes.metrics),
            Route("/v1/models", routes.models),
            Route("/v1/infill", routes.infill, methods=["POST"]),
            Route("/v1/edit", routes.edit, methods=["POST"]),
            *compat_routes(scheduler),
        ],
        middleware=[Middleware(Guard, token=token, loopback_only=loopback_only)],
        exception_handlers={HTTPException: http_exception},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def health(self, request: Request) -> Response:
        return Response(to_json(self._scheduler.health), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        metrics = self._scheduler.metrics
        return Response(metrics.render(), headers={"content-type": metrics.content_type})

    async def models(self, request: Request) -> Response:
        health = self._scheduler.health
        capabilities = ["infill", "edit", *(["instructions"] if health.instructions else [])]
        model = {"id": health.model, "object": "model", "owned_by": "lacuna", "capabilities": capabilities}
        return Response(to_json({"object": "list", "data": [model]}), media_type="application/json")

    async def infill(self, request: Request) -> Response:
        return Answer(infill_request(await read_json(request)), self._scheduler)

    async def edit(self, request: Request) -> Response:
        return Answer(decode(EditRequest, await read_json(request)), self._scheduler)
