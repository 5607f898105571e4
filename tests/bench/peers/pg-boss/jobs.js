// pg-boss: batches of 256 jobs, polled twice a second by two workers, the handler's rows written one by one.
import { randomUUID } from 'node:crypto';
import { PgBoss } from 'pg-boss';
import pg from 'pg';

const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 8 });
boss.on('error', console.error);
await boss.start();
await boss.createQueue('peer');

if (process.argv[2] === 'enqueue') {
  const jobs = Number(process.argv[3]);
  for (let at = 0; at < jobs; at += 500) {
    const length = Math.min(500, jobs - at);
    await boss.insert('peer', Array.from({ length }, (_, n) => ({ data: { body: String(at + n).padStart(245, '0') } })));
  }
  await boss.stop();
} else {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 });
  const store = (job) => pool.query('insert into peer.rows (id, body) values ($1, $2)', [randomUUID(), job.data.body]);
  const many = async (jobs) => void (await Promise.all(jobs.map(store)));
  for (let n = 0; n < 2; n += 1) {
    await boss.work('peer', { batchSize: 256, pollingIntervalSeconds: 0.5 }, many);
  }
}
