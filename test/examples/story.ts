/**
 * One story for every agent of the examples: what it says, what the operator answers meanwhile, and
 * what the upstream saw.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { clientFixture } from '../clients/fixture.ts';
import { exampleDocuments, said } from './documents.ts';

/** Runs the agent once with one note approved and the other denied, and holds it to that. */
export async function tell(t: Test, command: readonly [string, ...string[]]): Promise<void> {
  await using p = await clientFixture(exampleDocuments);
  const [program, ...args] = command;
  const env = { ...process.env, CHAPERONE_AGENT_API: p.agentSocket };
  const agent = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  agent.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  agent.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const closed = once(agent, 'close');
  await p.answer('approve');
  await p.answer('deny');
  const [status] = (await closed) as [number | null];
  t.equal(status, 0, err);
  const [opened, ...steps] = said(out);
  t.match(opened, {
    task: /^t-/,
    grant: { destinations: ['crm'], actions: ['read'], stepUp: ['write'] },
  });
  t.same(
    steps
      .map(({ step, result, refused, asked }) => [step, result ?? refused ?? asked])
      .slice(0, -1),
    [
      ['list-customers', '3 customers'],
      ['export-customers', 'denied'],
      ['add-note 1001', 'step-up-required'],
      ['add-note 1001', 'approved'],
      ['add-note 1001', '201'],
      ['add-note 1003', 'step-up-required'],
      ['add-note 1003', 'denied'],
    ],
  );
  t.same(steps.at(-1), {
    done: {
      'list-customers': '3 customers',
      'export-customers': 'denied',
      'add-note 1001': '201',
      'add-note 1003': 'denied',
    },
  });
  t.same(
    p.upstream.requests().map(({ method, target, status: code }) => [method, target, code]),
    [
      ['GET', '/v1/customers', 200],
      ['POST', '/v1/notes', 201],
    ],
    'what the upstream saw',
  );
  t.same(await p.eventsUntil('completed'), [
    'opened',
    'step-up-asked',
    'step-up-approved',
    'step-up-asked',
    'step-up-denied',
    'completed',
  ]);
}
