/**
 * The part of the story about tasks: no access without one, read-only at first, more for one call
 * once somebody approved it, and nothing left when it ends.
 */
import { apiClient, field, textOf } from '../api-client.ts';
import { AGENT_API } from '../api-socket.ts';
import { proxyVariables } from '../environment.ts';
import { type Answer, type Step, ask, expect, readRefusal } from './check.ts';
import type { Held, Stage } from './setup.ts';

export const TASKED: readonly Step[] = [
  { title: 'A destination that wants a task serves nobody without one', check: required },
  {
    title:
      'The agent opens a task: its grant is what it asked for, cut to the policy; inside ' +
      'it customers are read',
    check: opens,
  },
  {
    title:
      'A write is refused until the operator approves it, works once, and is refused ' +
      'again; the agent cannot approve',
    check: stepUp,
  },
  {
    title:
      'Confidential data was read: nothing is written any more to where everybody can ' +
      'read; a second task or one with a history apart does not wash that off',
    check: flow,
  },
  {
    title: 'A sub-agent gets a task that is narrower than its parent, whatever it asks for',
    check: derived,
  },
  {
    title:
      'The task ends: its tunnel is cut within a second, its proxy URL and its sub-agent are dead',
    check: ends,
  },
];

const CUSTOMER = 'http://support.internal/v1/customers/1001';
const NOTES = 'http://support.internal/v1/notes';
const FORUM = 'http://forum.internal/v1/notes';
const NOTE = JSON.stringify({ customer: '1001', text: 'call back' });
const INTENT = {
  purpose: 'answer-ticket',
  owner: 'demo-agent',
  onBehalfOf: 'alice@example.org',
  targets: ['support', 'forum', 'line', 'billing'],
  actions: ['read', 'post', 'write', 'admin'],
};

async function agentApi(
  stage: Stage,
  method: 'GET' | 'POST',
  path: string,
  given: Asking = {},
): Promise<Answer> {
  const body = given.body === undefined ? [] : [JSON.stringify(given.body)];
  const variables = { [AGENT_API]: stage.agentSocket, ...given.as?.variables };
  const [answer] = await stage.agent(['api', method, path, ...body], { variables });
  expect(answer !== undefined, 'the agent got no answer at all');
  return answer as Answer;
}

interface Asking {
  readonly body?: unknown;
  readonly as?: Held | undefined;
}

async function open(stage: Stage, path: string, body: unknown, as?: Held): Promise<Held> {
  const { status, body: text } = await agentApi(stage, 'POST', path, { body, as });
  expect(status === 201, `the agent API answered ${status} ${text}`);
  const opened: unknown = JSON.parse(text);
  const authorization = textOf(opened, 'authorization');
  const variables = {
    ...proxyVariables(textOf(opened, 'proxyUrl')),
    CHAPERONE_TASK_AUTHORIZATION: authorization,
  };
  return { id: textOf(opened, 'id'), opened, variables };
}

function taskOf({ held: { task } }: Stage): Held {
  if (task === undefined) throw new Error('there is no task: an earlier claim did not hold');
  return task;
}

async function required(stage: Stage): Promise<string> {
  const before = stage.crm.requests().length;
  const { status } = await ask(stage, 'GET', CUSTOMER);
  expect(status === 407, `the agent got ${status}`);
  expect(stage.crm.requests().length === before, 'the upstream was asked');
  const [, reason] = /"code":"task-required","reason":"([^"]+)"/.exec(await stage.audit()) ?? [];
  expect(reason !== undefined, 'there is no record of the refusal');
  return `407 ${reason}`;
}

async function opens(stage: Stage): Promise<string> {
  stage.held.task = await open(stage, '/v1/tasks', INTENT);
  const grant = field(stage.held.task.opened, 'grant');
  const words = ['destinations', 'actions', 'stepUp']
    .map((name) => JSON.stringify(field(grant, name)))
    .join(' ');
  const wanted = '["support","forum","line"] ["read","post"] ["write"]';
  expect(words === wanted, `the grant is ${JSON.stringify(grant)}`);
  const { status, body } = await ask(stage, 'GET', CUSTOMER, {
    variables: taskOf(stage).variables,
  });
  expect(status === 200 && body.includes('Ada Engines'), `the agent got ${status} ${body}`);
  expect(
    (await stage.audit()).includes(`"task":"${taskOf(stage).id}"`),
    'no record names the task',
  );
  return `billing and admin were refused; 200 in task ${taskOf(stage).id}`;
}

async function stepUp(stage: Stage): Promise<string> {
  const write = (): Promise<Answer> =>
    ask(stage, 'POST', NOTES, { body: NOTE, variables: taskOf(stage).variables });
  const before = stage.crm.requests().length;
  const refused = await write();
  expect(
    refused.status === 403 && refused.body.includes('step-up-required'),
    `the agent got ${refused.status}`,
  );
  expect(stage.crm.requests().length === before, 'the upstream was asked');
  const decision = decisionIn(refused.body);
  const body = { decision, reason: 'the customer asked for a call' };
  const asked = await agentApi(stage, 'POST', `/v1/tasks/${taskOf(stage).id}/step-ups`, {
    body,
    as: taskOf(stage),
  });
  const id = textOf(JSON.parse(asked.body), 'id');
  const itself = await agentApi(stage, 'POST', `/v1/step-ups/${id}/approve`, {
    body: { by: 'agent' },
    as: taskOf(stage),
  });
  expect(itself.status === 404, `the agent approved its own question: ${itself.status}`);
  expect((await write()).status === 403, 'asking alone was enough');
  const admin = apiClient(stage.adminSocket);
  const shown = JSON.stringify(await admin.ask({ method: 'GET', path: '/v1/step-ups' }));
  expect(
    shown.includes('"path":"/v1/notes"') && shown.includes('call back'),
    `olga is shown ${shown}`,
  );
  await admin.ask({ method: 'POST', path: `/v1/step-ups/${id}/approve`, body: { by: 'olga' } });
  const done = await write();
  expect(done.status === 201, `the approved write got ${done.status} ${done.body}`);
  expect((await write()).status === 403, 'the approval was good for a second call');
  expect(stage.crm.requests().length === before + 1, 'the upstream saw more than the one write');
  return `403, approved by olga, 201, 403; recorded as ${id.slice(0, 10)}…`;
}

async function flow(stage: Stage): Promise<string> {
  const before = stage.crm.requests().length;
  const { status, body } = await ask(stage, 'POST', FORUM, {
    body: NOTE,
    variables: taskOf(stage).variables,
  });
  expect(status === 403 && body.includes('no-leak'), `the agent got ${status} ${body}`);
  expect(stage.crm.requests().length === before, 'the upstream was asked');
  const second = await open(stage, '/v1/tasks', {
    ...INTENT,
    targets: ['forum'],
    actions: ['post'],
  });
  const washed = await ask(stage, 'POST', FORUM, { body: NOTE, variables: second.variables });
  expect(washed.status === 403, `a second task washed the history off: ${washed.status}`);
  const apart = await open(stage, '/v1/tasks', {
    ...INTENT,
    targets: ['forum'],
    actions: ['post'],
    isolated: true,
  });
  const fresh = await ask(stage, 'POST', FORUM, { body: NOTE, variables: apart.variables });
  expect(fresh.status === 403, `a history apart began empty: ${fresh.status} ${fresh.body}`);
  return `403 ${readRefusal(body).message}`;
}

async function derived(stage: Stage): Promise<string> {
  const intent = {
    ...INTENT,
    targets: ['support', 'billing'],
    actions: ['read', 'admin'],
    lifetime: '168h',
  };
  stage.held.child = await open(
    stage,
    `/v1/tasks/${taskOf(stage).id}/tasks`,
    intent,
    taskOf(stage),
  );
  const { variables, opened } = stage.held.child;
  expect(
    Date.parse(textOf(opened, 'expiresAt')) <=
      Date.parse(textOf(taskOf(stage).opened, 'expiresAt')),
    'it outlives its parent',
  );
  expect(
    (await ask(stage, 'GET', CUSTOMER, { variables })).status === 200,
    'it cannot do what its parent gave it',
  );
  const wider = await ask(stage, 'POST', NOTES, { body: NOTE, variables });
  expect(
    wider.body.includes('its actions leave out write'),
    `it reached more than it was given: ${wider.status}`,
  );
  return `reads customers; 403 ${readRefusal(wider.body).message}`;
}

async function ends(stage: Stage): Promise<string> {
  let [completed, cutAfter] = [0, Number.NaN];
  const seen = (line: string): void => {
    if (line === '"cut"') cutAfter = performance.now() - completed;
    else if (completed === 0) {
      completed = performance.now();
      void agentApi(stage, 'POST', `/v1/tasks/${taskOf(stage).id}/complete`, { as: taskOf(stage) });
    }
  };
  const [first] = await stage.agent(['tunnel', 'line.internal:7'], {
    variables: taskOf(stage).variables,
    seen,
  });
  expect(
    field(first, 'echo') === 'are you there?\n',
    `the tunnel answered ${JSON.stringify(first)}`,
  );
  // The agent that completes the task is a process that has to start first.
  expect(cutAfter < 5000, `it was cut after ${Math.round(cutAfter)} ms`);
  const times = [
    ...(await stage.audit()).matchAll(
      /^\{"time":"([^"]+)"[^\n]*(?:"event":"completed"|"outcome":"task-ended")/gm,
    ),
  ];
  const [end, cut] = times.map(([, at = '']) => Date.parse(at));
  expect(
    end !== undefined && cut !== undefined && cut - end < 1000,
    'the tunnel was not cut within a second of the end',
  );
  for (const { variables } of [taskOf(stage), stage.held.child ?? taskOf(stage)]) {
    const { status } = await ask(stage, 'GET', CUSTOMER, { variables });
    expect(status === 407, `the dead proxy URL got ${status}`);
  }
  return (
    `the tunnel was cut ${cut - end} ms after the end; 407 for the proxy URLs of the task ` +
    'and of its sub-agent'
  );
}

/** What names the refused call. */
function decisionIn(body: string): string {
  const [, decision] = /decision"?[ :]+"?([0-9a-f-]{36})/.exec(body) ?? [];
  expect(decision !== undefined, `the refusal names no decision: ${body}`);
  return decision ?? '';
}
