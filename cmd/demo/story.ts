/**
 * The demo's story: each step makes a claim and checks it, from the agent's side and from the
 * upstream's. The first claim that does not hold is named, the rest is told all the same, and the
 * demo fails.
 */
import { INTERCEPTED } from './intercepted.ts';
import { REVIEWED } from './review-demo.ts';
import type { Stage } from './setup.ts';
import { TASKED } from './tasks-demo.ts';
import { ask, eventually, expect, readRefusal, type Step } from './check.ts';

export const STORY: readonly Step[] = [
  { title: 'An SVID comes from the Workload API; the sidecar is ready', check: identityArrives },
  {
    title: 'The agent reads a customer: it says http://, the upstream sees mTLS from its SPIFFE ID',
    check: allowed,
  },
  { title: 'An export is denied by a rule, and the upstream hears nothing', check: deniedByRule },
  { title: 'A write that no rule allows is denied', check: deniedByDefault },
  {
    title: 'A tool of an MCP server is called, with arguments that a condition allows',
    check: toolAllowed,
  },
  {
    title: 'The same tool with a larger amount is denied, in an error the agent can read',
    check: toolDenied,
  },
  {
    title:
      'A host that no destination has is denied before it is resolved; the metadata service too',
    check: unlisted,
  },
  ...INTERCEPTED,
  ...TASKED,
  ...REVIEWED,
  {
    title: 'An impostor with a valid SVID of the same trust domain gets not one byte',
    check: impostor,
  },
  { title: 'The SVID rotates under load and no request is lost', check: rotates },
  {
    title: 'An open tunnel is cut within a second of the policy that no longer allows it',
    check: cutsTunnel,
  },
  {
    title: 'A bad configuration is refused whole, and the last good one stays',
    check: keepsLastGood,
  },
  {
    title:
      'The Workload API withdraws the identity: refused at once, and back when it is given again',
    check: withdrawal,
  },
  { title: 'Every exchange left one decided and one ended record, and no secret', check: evidence },
];

async function identityArrives({ sidecar }: Stage): Promise<string> {
  await eventually('ready', () => sidecar.ready());
  const { svid } = sidecar.identity.current();
  expect(svid.id === 'spiffe://dev.local/agent', `the SVID is ${svid.id}`);
  return (
    `${svid.id}, serial ${svid.serial.slice(0, 12)}…, valid until ` +
    `${new Date(svid.notAfter).toISOString()}`
  );
}

async function allowed(stage: Stage): Promise<string> {
  const { status, body } = await ask(stage, 'GET', 'http://crm.internal/v1/customers/1001');
  expect(status === 200 && body.includes('Ada Engines'), `the agent got ${status} ${body}`);
  const caller = stage.crm.requests().at(-1)?.peer.spiffeId;
  expect(caller === 'spiffe://dev.local/agent', `the upstream saw ${caller}`);
  return `200, seen by the upstream as ${caller}`;
}

async function refusedWith(
  stage: Stage,
  want: { method?: string; url: string; status: number; code: string },
): Promise<string> {
  const before = stage.crm.requests().length;
  const { status, body } = await ask(stage, want.method ?? 'GET', want.url, {
    body: want.method === 'POST' ? '{}' : undefined,
  });
  expect(status === want.status, `the agent got ${status} ${body}`);
  const { code, message } = readRefusal(body);
  expect(code === want.code, `the code is ${code}`);
  expect(stage.crm.requests().length === before, 'the upstream was asked');
  return `${status} ${message}`;
}

function deniedByRule(stage: Stage): Promise<string> {
  return refusedWith(stage, {
    url: 'http://crm.internal/v1/export/customers',
    status: 403,
    code: 'denied',
  });
}

function deniedByDefault(stage: Stage): Promise<string> {
  return refusedWith(stage, {
    method: 'POST',
    url: 'http://crm.internal/v1/notes',
    status: 403,
    code: 'denied',
  });
}

interface ToolAnswer {
  readonly tools: readonly string[];
  readonly result?: { readonly content: readonly { readonly text: string }[] };
  readonly error?: { readonly code: number; readonly message: string };
}

const REFUND = 'tools/call refund';

async function callRefund(stage: Stage, amount: number): Promise<ToolAnswer> {
  const args = JSON.stringify({ id: 'T-1', amount });
  const [answer] = await stage.agent(['tool', 'http://tickets.internal/mcp', 'refund', args]);
  expect(answer !== undefined, 'the agent got no answer at all');
  return answer as ToolAnswer;
}

async function toolAllowed(stage: Stage): Promise<string> {
  const { tools, result, error } = await callRefund(stage, 40);
  expect(
    tools.join() === 'search_tickets,get_ticket,refund',
    `the agent was shown the tools ${tools.join()}`,
  );
  expect(
    result?.content[0]?.text === '40 refunded for T-1, 40 in all',
    `the agent got ${JSON.stringify(result ?? error)}`,
  );
  const seen = stage.tickets.requests().at(-1);
  expect(seen?.asked === REFUND, `the server was asked for ${seen?.asked}`);
  return (
    `${result.content[0].text}; delete_ticket is not even listed; the server saw ` +
    `${seen.peer.spiffeId}`
  );
}

async function toolDenied(stage: Stage): Promise<string> {
  const refunds = (): number =>
    stage.tickets.requests().filter(({ asked }) => asked === REFUND).length;
  const before = refunds();
  const { error, result } = await callRefund(stage, 40_000);
  expect(error !== undefined, `the agent got ${JSON.stringify(result)}`);
  expect(refunds() === before, 'the server was asked');
  expect(
    /no rule of destination tickets allows tools\/call refund/.test(error.message),
    `the agent was told ${error.message}`,
  );
  const records = (await stage.audit())
    .split('\n')
    .filter((line) => line.includes('"tool":"refund"'));
  expect(
    records.length === 2 && !records.join().includes('40000'),
    'the records are not two, or hold an argument',
  );
  return `${error.code} ${error.message}`;
}

async function unlisted(stage: Stage): Promise<string> {
  await refusedWith(stage, {
    url: 'http://169.254.169.254/latest/meta-data/',
    status: 403,
    code: 'denied',
  });
  return refusedWith(stage, { url: 'http://exfiltrate.example/', status: 403, code: 'denied' });
}

async function impostor(stage: Stage): Promise<string> {
  const told = await refusedWith(stage, {
    url: 'http://billing.internal/',
    status: 502,
    code: 'upstream-identity',
  });
  expect(stage.impostor.connections() > 0, 'the impostor was not even reached');
  const bytes = stage.impostor.callers().reduce((sum, { received }) => sum + received, 0);
  expect(bytes === 0, `the impostor received ${bytes} bytes`);
  return told;
}

async function rotates(stage: Stage): Promise<string> {
  const [seen] = (await stage.agent(['watch', 'http://crm.internal/v1/whoami', '20'])) as [
    { readonly requests: number; readonly failures: number; readonly serials: readonly string[] },
  ];
  expect(seen.failures === 0, `${seen.failures} of ${seen.requests} requests failed`);
  expect(
    seen.serials.length >= 2,
    `the upstream saw one serial only, ${seen.serials[0]}, over ${seen.requests} requests`,
  );
  return (
    `${seen.requests} requests, 0 failures, serials ` +
    `${seen.serials.map((one) => `${one.slice(0, 8)}…`).join(' then ')}`
  );
}

async function cutsTunnel(stage: Stage): Promise<string> {
  let [reconfigured, cutAfter] = [0, Number.NaN];
  const seen = (line: string): void => {
    if (line === '"cut"') cutAfter = performance.now() - reconfigured;
    else if (reconfigured === 0) {
      reconfigured = performance.now();
      void stage.configure(false).then(() => stage.sidecar.reload());
    }
  };
  const lines = await stage.agent(['tunnel', 'echo.internal:7'], { seen });
  const [first] = lines as readonly { readonly echo?: string }[];
  expect(first?.echo === 'are you there?\n', `the tunnel answered ${JSON.stringify(first)}`);
  expect(cutAfter < 1000, `it was cut after ${Math.round(cutAfter)} ms`);
  return `cut ${Math.round(cutAfter)} ms after the file was written`;
}

async function keepsLastGood(stage: Stage): Promise<string> {
  const { writeFile } = await import('node:fs/promises');
  await writeFile(
    stage.configFile,
    'apiVersion: chaperone.dev/v1alpha1\nkind: Sidecar\nspec: { foward: {} }\n',
  );
  await stage.sidecar.reload();
  const { status } = await ask(stage, 'GET', 'http://crm.internal/v1/customers/1002');
  expect(status === 200, `the agent got ${status}`);
  await stage.configure(false);
  await stage.sidecar.reload();
  return 'the agent noticed nothing';
}

async function withdrawal(stage: Stage): Promise<string> {
  await stage.workloadApi.setIdentities([]);
  await eventually('not ready', () => !stage.sidecar.ready());
  const told = await refusedWith(stage, {
    url: 'http://crm.internal/v1/customers',
    status: 503,
    code: 'no-identity',
  });
  await stage.workloadApi.setIdentities([{ id: '/agent' }]);
  await eventually('ready again', () => stage.sidecar.ready());
  return told;
}

async function evidence(stage: Stage): Promise<string> {
  const text = await stage.audit();
  const records = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly kind: string; readonly exchange?: string });
  const seen = new Map<string, string>();
  for (const { kind, exchange } of records) {
    if (exchange !== undefined && kind !== 'redecided')
      seen.set(exchange, `${seen.get(exchange) ?? ''} ${kind}`);
  }
  const odd = [...seen].filter(
    ([, kinds]) => kinds !== ' decided ended' && kinds !== ' refused ended',
  );
  expect(seen.size >= 10, `there are records of ${seen.size} exchanges only`);
  expect(
    odd.length === 0,
    `exchanges with other records: ${odd.map(([id, kinds]) => `${id}:${kinds}`).join(', ')}`,
  );
  expect(!/PRIVATE KEY|Ada Engines|eyJ/.test(text), 'a record holds a body or a key');
  return `${records.length} records of ${seen.size} exchanges`;
}
