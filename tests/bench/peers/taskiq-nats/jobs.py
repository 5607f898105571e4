"""taskiq on JetStream with its pull broker; two processes for two cores."""

import asyncio
import os
import uuid
from urllib.parse import parse_qs, urlsplit

import asyncpg
from taskiq import TaskiqEvents
from taskiq_nats import PullBasedJetStreamBroker

broker = PullBasedJetStreamBroker(
    os.environ["NATS_URL"], stream_name="peer", durable="peer", pull_consume_batch=200, pull_consume_timeout=0.5
)
pool = None
# asyncpg prefers the host before the path.
socket = parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)["host"][0]


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(_):
    global pool
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], host=socket, min_size=8, max_size=8)


@broker.task
async def store(body: str) -> None:
    await pool.execute("insert into peer.rows (id, body) values ($1, $2)", uuid.uuid4(), body)


def enqueue(jobs):
    async def kick():
        await broker.startup()
        for n in range(jobs):
            await store.kiq(f"{n:0>245}")
        await broker.shutdown()

    asyncio.run(kick())
