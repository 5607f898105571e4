// Graphile Worker: 24 jobs at once in each of two processes for two cores, each its own statement; jobs are fetched into
// a local queue and completed in batches, as it advises for throughput.
import { randomUUID } from 'node:crypto';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

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
  const worker = {
    concurrentJobs: 24,
    pollInterval: 500,
    localQueue: { size: 500, refetchDelay: { durationMs: 50, threshold: 0, maxAbortThreshold: 1000 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger: new Logger(() => () => {}),
  };
  await run({ pgPool, preset: { worker }, noHandleSignals: true, taskList: { store } });
}
