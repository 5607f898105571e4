"""Celery on Redis: late acknowledgement, so that a killed worker loses nothing; two processes for two cores."""

import os
import uuid

import psycopg
from celery import Celery
from celery.signals import worker_process_init

app = Celery("jobs", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    # As is advised for many short tasks.
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)
db = None


@worker_process_init.connect
def connect(**_):
    global db
    db = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


@app.task
def store(body):
    db.execute("insert into peer.rows (id, body) values (%s, %s)", (uuid.uuid4(), body))


def enqueue(jobs):
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        for n in range(jobs):
            store.apply_async((f"{n:0>245}",), producer=producer)
