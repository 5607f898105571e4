"""Dramatiq on Redis, many messages fetched ahead; two processes for two cores."""

import os
import threading
import uuid

import dramatiq
import psycopg
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))
mine = threading.local()


@dramatiq.actor
def store(body):
    if not hasattr(mine, "db"):
        mine.db = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    mine.db.execute("insert into peer.rows (id, body) values (%s, %s)", (uuid.uuid4(), body))


def enqueue(jobs):
    for n in range(jobs):
        store.send(f"{n:0>245}")
