// Load on the HTTP door with k6 <https://k6.io>: requests are started at a rate, whether the last were answered or not.
//
//   ops/stack tests/load/k6            # a stack of its own, k6 fetched into .omnibus/
//   k6 run -e OMNIBUS_URL=http://localhost:8080 -e OMNIBUS_KEY="$(cat .omnibus/demo-key)" tests/load/api-load-test.js
//
// RATE (requests a second, 200) and SECONDS (20) change how much.
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

const url = __ENV.OMNIBUS_URL;
const key = __ENV.OMNIBUS_KEY;
const rate = Number(__ENV.RATE || 200);
const seconds = Number(__ENV.SECONDS || 20);
const shed = new Counter('shed');

// A door that sheds answers as it should.
http.setResponseCallback(http.expectedStatuses(202, 429, 503));

export const options = {
  scenarios: {
    mails: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: `${seconds}s`,
      preAllocatedVUs: 64,
      maxVUs: 512,
    },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    'http_req_duration{expected_response:true}': ['p(95)<200'],
  },
};

export default function () {
  const body = JSON.stringify({ to: ['load@example.com'], subject: 'Load', body: `Number ${__ITER} of ${__VU}` });
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` };
  const answer = http.post(`${url}/api/v1/email/send`, body, { headers });
  if (answer.status !== 202) {
    shed.add(1);
  }
  check(answer, {
    'accepted, or told when to come again': (r) => r.status === 202 || r.headers['Retry-After'] !== undefined,
    'accepted with an id': (r) => r.status !== 202 || r.json('id') !== undefined,
  });
}
