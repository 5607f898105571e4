"""FastStream on JetStream, 256 messages at a time: one statement, one acknowledgement each; two processes, as many as
cores."""

import asyncio
import logging
import os
import uuid
from urllib.parse import parse_qs, urlsplit

import asyncpg
import nats
import uvloop
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub

broker = NatsBroker(os.environ["NATS_URL"], log_level=logging.ERROR)
app = FastStream(broker)
stream = JStream("peer", subjects=["peer.jobs"])
pool = None
# asyncpg prefers the host before the path.
socket = parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)["host"][0]
# A pull that is not filled ends soon.
batches = PullSub(batch_size=256, timeout=0.05, batch=True)


@broker.subscriber("peer.jobs", stream=stream, durable="peer", pull_sub=batches)
async def store(bodies: list[str]):
    ids = [uuid.uuid4() for _ in bodies]
    await pool.execute("insert into peer.rows (id, body) select * from unnest($1::uuid[], $2::text[])", ids, bodies)


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
        global pool
        pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], host=socket, min_size=4, max_size=4)
        await app.run()

    uvloop.run(run())
