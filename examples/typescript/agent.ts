/**
 * A plain loop: plan, act, look, until there is nothing left to do. The planner is a few rules, so
 * that the example needs no model; a model that proposes the next step has the same place and gets
 * no more power by it, since what a step may do is decided at the sidecar.
 *
 *   node examples/typescript/agent.ts
 *
 * with CHAPERONE_AGENT_API in the environment. It prints one JSON object a step.
 */
import { openTask, Refused, type Task } from 'chaperone/client';

interface Customer {
  readonly id: string;
  readonly name: string;
  readonly plan: string;
}

interface Step {
  readonly tool: 'list-customers' | 'export-customers' | 'add-note';
  readonly customer?: string;
}

/** What the agent has learnt. */
interface Memory {
  customers: readonly Customer[];
  /** Steps that are over, done or given up. */
  readonly over: Map<string, string>;
}

const CRM = 'http://crm.internal';

const nameOf = ({ tool, customer }: Step): string =>
  customer === undefined ? tool : `${tool} ${customer}`;
const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/**
 * The next step towards a note for every customer of the gold plan; undefined when there is none
 * left.
 */
function plan({ customers, over }: Memory): Step | undefined {
  const notes = customers
    .filter((one) => one.plan === 'gold')
    .map(({ id }) => ({ tool: 'add-note', customer: id }) as const);
  const steps: readonly Step[] = [
    { tool: 'list-customers' },
    { tool: 'export-customers' },
    ...notes,
  ];
  return steps.find((step) => !over.has(nameOf(step)));
}

async function act(task: Task, { tool, customer }: Step, memory: Memory): Promise<string> {
  switch (tool) {
    case 'list-customers': {
      const answer = await task.fetch(`${CRM}/v1/customers`);
      memory.customers = (await answer.json()) as Customer[];
      return `${memory.customers.length} customers`;
    }
    case 'export-customers': {
      const answer = await task.fetch(`${CRM}/v1/export/customers`);
      return `${answer.status}`;
    }
    case 'add-note': {
      const body = JSON.stringify({ customer, text: 'call back this week' });
      const answer = await task.fetch(`${CRM}/v1/notes`, { method: 'POST', body });
      return `${answer.status}`;
    }
  }
}

/** What becomes of a step that was refused: asked for and to be tried again, or given up. */
async function whenRefused(task: Task, step: Step, refused: Refused): Promise<string | undefined> {
  print({ step: nameOf(step), refused: refused.code, why: refused.message });
  if (refused.code !== 'step-up-required') return refused.code;
  const { state, answeredBy } = await task.stepUp(refused, { reason: nameOf(step) });
  print({ step: nameOf(step), asked: state, by: answeredBy });
  return state === 'approved' ? undefined : state;
}

await using task = await openTask({
  purpose: 'call-back',
  owner: 'example-agent',
  targets: ['crm'],
  actions: ['read', 'write'],
  lifetime: '5m',
});
print({ task: task.id, grant: task.grant });
const memory: Memory = { customers: [], over: new Map() };
for (let step = plan(memory); step !== undefined; step = plan(memory)) {
  try {
    const result = await act(task, step, memory);
    memory.over.set(nameOf(step), result);
    print({ step: nameOf(step), result });
  } catch (failure) {
    if (!(failure instanceof Refused)) throw failure;
    const end = await whenRefused(task, step, failure);
    if (end !== undefined) memory.over.set(nameOf(step), end);
  }
}
print({ done: Object.fromEntries(memory.over) });
