"""FastStream on JetStream, 256 messages at a time: one statement, one acknowledgement each."""

import asyncio
import os
import uuid

import nats
import psycopg_pool
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub

broker = NatsBroker(os.environ["NATS_URL"])
app = FastStream(broker)
stream = JStream("peer", subjects=["peer.jobs"])
pool = psycopg_pool.AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=8, open=False, kwargs={"autocommit": True})


@broker.subscriber("peer.jobs", stream=stream, durable="peer", pull_sub=PullSub(batch_size=256, batch=True))
async def store(bodies: list[str]):
    async with pool.connection() as db:
        rows = ([uuid.uuid4() for _ in bodies], bodies)
        await db.execute("insert into peer.rows (id, body) select * from unnest(%s::uuid[], %s::text[])", rows)


def enqueue(jobs):
    # With the client beneath: a broker that starts here would begin to work.
    async def publish():
        client = await nats.connect(os.environ["NATS_URL"])
        js = client.jetstream()
        await js.add_stream(name="peer", subjects=["peer.jobs"])
        text = {"content-type": "text/plain"}
        for at in range(0, jobs, 250):
            some = range(at, min(at + 250, jobs))
            await asyncio.gather(*(js.publish("peer.jobs", f"{n:0>245}".encode(), headers=text) for n in some))
        await client.close()

    asyncio.run(publish())


def work():
    async def run():
        await pool.open()
        await app.run()

    asyncio.run(run())
