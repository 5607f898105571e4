// Graphile Worker: 24 jobs at once in one process, each its own statement.
import { randomUUID } from 'node:crypto';
import { makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 30 });

if (process.argv[2] === 'enqueue') {
  const utils = await makeWorkerUtils({ pgPool });
  await utils.migrate();
  const jobs = Number(process.argv[3]);
  for (let at = 0; at < jobs; at += 500) {
    const length = Math.min(500, jobs - at);
    await utils.addJobs(Array.from({ length }, (_, n) => ({ identifier: 'store', payload: { body: String(at + n).padStart(245, '0') } })));
  }
  await utils.release();
  await pgPool.end();
} else {
  const sql = 'insert into peer.rows (id, body) values ($1, $2)';
  const store = async (payload, { query }) => void (await query(sql, [randomUUID(), payload.body]));
  await run({ pgPool, concurrency: 24, pollInterval: 500, noHandleSignals: true, taskList: { store } });
}
