// pg-boss: 500 jobs fetched and completed at a time, without a pause while there are any, by two loops in each of two
// processes for two cores; each job its own statement. (Its `work` pauses for half a second at least between two batches.)
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { PgBoss } from 'pg-boss';
import pg from 'pg';

const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 8, supervise: false, schedule: false });
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
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
  const store = (job) => pool.query('insert into peer.rows (id, body) values ($1, $2)', [randomUUID(), job.data.body]);
  const loop = async () => {
    for (;;) {
      const jobs = await boss.fetch('peer', { batchSize: 500 });
      if (jobs.length === 0) {
        await setTimeout(50);
        continue;
      }
      await Promise.all(jobs.map(store));
      await boss.complete('peer', jobs.map((job) => job.id));
    }
  };
  await Promise.all([loop(), loop()]);
}
