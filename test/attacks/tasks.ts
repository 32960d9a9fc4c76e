/**
 * Tasks for attempts: who is named in Proxy-Authorization, and how. Every attempt of such a world
 * has the tasks open that it may try to pass for.
 */
import { type Cell, cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Approval } from '../../lib/policy/model/grant.ts';
import { type Destination, rulesOf } from '../../lib/policy/protocols/index.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { testDestination } from '../support/destination.ts';
import { STEP_UP, intent, rule } from '../tasks/fixture.ts';
import type { Attempt, Named } from './case.ts';

export interface Guests extends AsyncDisposable {
  readonly tasks: Tasks;
  readonly policy: Cell<Policy>;
  /** The attempt with its Proxy-Authorization. */
  dressed(attempt: Attempt): Attempt;
}

const EVERYTHING = ['read', 'admin'];

export function guests(own: Destination, proxy: () => Proxy | undefined): Guests {
  const elsewhere = {
    ...testDestination({ name: 'elsewhere', hosts: ['elsewhere.internal'] }),
    dataClass: 'public',
  };
  const common = {
    destinations: new Set([own.name, 'elsewhere']),
    actions: new Set(EVERYTHING),
    stepUp: [],
  };
  const approved = { ...STEP_UP, actions: new Set(EVERYTHING), maxCalls: Infinity };
  const taskPolicies = [
    rule({ ...common, maxCalls: 1_000_000 }),
    rule({ ...common, name: 'b', purposes: ['approved'], stepUp: [approved] }),
    rule({ ...common, name: 'c', purposes: ['bound'], stepUp: [{ ...approved, bound: true }] }),
  ];
  const destinations = [own, elsewhere];
  const policy = cell<Policy>(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => proxy()?.reauthorize(),
  });
  return {
    tasks: registry,
    policy,
    dressed(attempt) {
      const values = attempt.task === undefined ? [] : valuesOf(attempt.task, registry, own);
      const fields = values.map((value) => `Proxy-Authorization: ${value}`);
      return fields.length === 0
        ? attempt
        : { ...attempt, fields: [...fields, ...(attempt.fields ?? [])] };
    },
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

function basic(text: string): string {
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

const pair = ({ task, secret }: Opened): string => basic(`${task.id}:${secret}`);

function valuesOf(named: Named, registry: Tasks, destination: Destination): readonly string[] {
  const own = destination.name;
  const open = (given: object = {}): Opened =>
    registry.open(intent({ targets: [own, 'elsewhere'], actions: EVERYTHING, ...given }));
  const [one, other] = [open(), open()];
  const ended = (end: 'completed' | 'revoked'): string => (
    registry.end(one.task, end, 'by hand'),
    pair(one)
  );
  /**
   * Elevated for every action, of every rule of the destination and of none, but for what is given.
   */
  const approved = (purpose: string, given: Partial<Approval>): string => {
    const opened = open({ purpose });
    const until = systemClock.monotonic() + 60_000;
    for (const action of EVERYTHING) {
      for (const rule of [undefined, ...rulesOf(destination).map(({ name }) => name)]) {
        const one = { id: 's-x', action, destination: own, rule, digest: undefined, ...given };
        opened.task.approve({ ...one, as: 'operator', at: 0, until, callsLeft: 100, spent: 0 });
      }
    }
    return pair(opened);
  };
  switch (named) {
    case 'live':
      return [pair(one)];
    case 'completed':
    case 'revoked':
      return [ended(named)];
    case 'secret of another':
      return [basic(`${one.task.id}:${other.secret}`)];
    case 'id of another':
      return [basic(`t-${'a'.repeat(20)}:${one.secret}`)];
    case 'sub-agent of one that ended': {
      const child = registry.derive(one.task, intent({ targets: [own], actions: ['read'] }));
      ended('completed');
      return [pair(child)];
    }
    case 'id alone':
      return [basic(`${one.task.id}:`)];
    case 'secret alone':
      return [basic(`:${one.secret}`)];
    case 'person':
      return [basic('alice:password')];
    case 'nothing':
      return [''];
    case 'bearer':
      return [`Bearer ${one.secret}`];
    case 'digest':
      return [`Digest username="${one.task.id}", response="${one.secret}"`];
    case 'behind text':
      return [`Negotiate x, ${pair(one)}`];
    case 'before text':
      return [`${pair(one)}, Basic x`];
    case 'not base64':
      return [`Basic ${one.task.id}:${one.secret}`];
    case 'for elsewhere':
      return [pair(open({ targets: ['elsewhere'] }))];
    case 'for other data':
      return [pair(open({ dataClasses: ['public'], targets: [own, 'elsewhere'] }))];
    case 'spent': {
      const opened = open({ maxCalls: 1 });
      opened.task.claim({ id: 'before', abort: () => {} }, undefined);
      return [pair(opened)];
    }
    case 'not approved':
      return [pair(open({ purpose: 'approved' }))];
    case 'approved for elsewhere':
      return [approved('approved', { destination: 'elsewhere' })];
    case 'approved for another rule':
      return [approved('approved', { rule: 'another' })];
    case 'approved for other parameters':
      return [approved('bound', { digest: `sha-256:${'A'.repeat(43)}` })];
    case 'live twice':
      return [pair(one), pair(one)];
    case 'dead before live':
      return [basic('alice:password'), pair(one)];
    case 'live before dead':
      return [pair(one), basic('alice:password')];
  }
}
