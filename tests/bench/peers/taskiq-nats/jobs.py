"""taskiq on JetStream with its pull broker; two processes for two cores."""

import asyncio
import os
import uuid

import psycopg_pool
from taskiq import TaskiqEvents
from taskiq_nats import PullBasedJetStreamBroker

broker = PullBasedJetStreamBroker(os.environ["NATS_URL"], stream_name="peer", durable="peer")
pool = psycopg_pool.AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=4, open=False, kwargs={"autocommit": True})


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(_):
    await pool.open()


@broker.task
async def store(body: str) -> None:
    async with pool.connection() as db:
        await db.execute("insert into peer.rows (id, body) values (%s, %s)", (uuid.uuid4(), body))


def enqueue(jobs):
    async def kick():
        await broker.startup()
        for n in range(jobs):
            await store.kiq(f"{n:0>245}")
        await broker.shutdown()

    asyncio.run(kick())
