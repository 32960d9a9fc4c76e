// An agent with the packed client (its file is the first argument), which knows its sidecar by the
// environment alone. Without `await using`, which Node 20 and 22 do not have.
import { pathToFileURL } from 'node:url';

const { openTask, Refused } = await import(pathToFileURL(process.argv[2]).href);
const refusal = (asked) =>
  asked.then(
    () => 'not refused',
    (failure) => {
      if (!(failure instanceof Refused)) throw failure;
      const { code, status, rule, message } = failure;
      return { code, status, rule, message };
    },
  );

const task = await openTask({
  purpose: 'answer-ticket',
  owner: 'agent',
  targets: ['crm', 'web'],
  actions: ['read', 'write'],
});
const [mtls, web] = ['http://crm.internal/v1/customers', 'https://api.saas.example/v1/models'];
const first = await task.fetch(mtls);
const said = {
  version: process.version,
  mtls: [first.status, (await first.json())[0].name],
  web: (await task.fetch(web)).status,
  denied: await refusal(task.fetch('http://crm.internal/v1/export/customers')),
  tunnel: await refusal(task.fetch('https://elsewhere.example/')),
  early: await refusal(
    task.fetch('http://crm.internal/v1/notes', { method: 'POST', body: 'x'.repeat(5_000_000) }),
  ),
};
await task.complete();
console.log(
  JSON.stringify({ ...said, ended: task.ended.aborted, late: await refusal(task.fetch(mtls)) }),
);
