// BullMQ on Redis: 100 jobs at once in each of two processes for two cores, finished jobs removed.
import { randomUUID } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

const connection = new Redis(Number(process.env.REDIS_PORT), '127.0.0.1', { maxRetriesPerRequest: null });

if (process.argv[2] === 'enqueue') {
  const queue = new Queue('peer', { connection });
  const jobs = Number(process.argv[3]);
  for (let at = 0; at < jobs; at += 500) {
    const bulk = Array.from({ length: Math.min(500, jobs - at) }, (_, n) => ({
      name: 'store',
      data: { body: String(at + n).padStart(245, '0') },
      opts: { removeOnComplete: true },
    }));
    await queue.addBulk(bulk);
  }
  await queue.close();
  await connection.quit();
} else {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
  const store = (job) => pool.query('insert into peer.rows (id, body) values ($1, $2)', [randomUUID(), job.data.body]);
  new Worker('peer', async (job) => void (await store(job)), { connection, concurrency: 100 });
}
