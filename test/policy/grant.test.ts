/** One call held against a grant: destination, class of data and action must each be in it. */
import t from 'tap';
import { judgeGrant } from '../../lib/policy/decision/grant.ts';
import type { Grant } from '../../lib/policy/model/grant.ts';
import { destination } from './destination.ts';

const GRANT: Grant = {
  purpose: 'support',
  destinations: new Set(['crm']),
  actions: new Set(['read']),
  stepUp: new Map(),
  dataClasses: new Set(['internal']),
  maxCalls: 1,
};

function code(grant: Grant, action: string | undefined, uses = 0): string {
  const task = {
    id: 't',
    purpose: 'support',
    owner: 'a',
    onBehalfOf: undefined,
    depth: 0,
    approvals: [],
  };
  const done = { read: 'none', wrote: 'none', actions: [], destinations: [] };
  const call = {
    destination: destination('crm'),
    host: 'crm.internal',
    port: 80,
    action,
    rule: 'read',
    digest: () => undefined,
  };
  return judgeGrant({ ...task, ...done, grant, uses }, { ...call, reading: 'whole' }).code;
}

t.test('where hosts were named, those alone are in the grant, at their ports', async (t) => {
  const at = (host: string, port?: number, below = false): string =>
    code({ ...GRANT, hosts: new Map([['crm', [{ host, below, port }]]]) }, 'read');
  t.equal(at('crm.internal'), 'granted');
  t.equal(at('crm.internal', 80), 'granted');
  t.equal(at('crm.internal', 8080), 'outside-grant');
  t.equal(at('payroll.internal'), 'outside-grant');
  t.equal(at('internal', 80, true), 'granted');
  t.equal(at('crm.internal', 80, true), 'outside-grant', 'names below it are not that name');
  t.equal(at('rm.internal', undefined, true), 'outside-grant', 'whole labels alone');
  t.equal(code({ ...GRANT, hosts: new Map([['crm', []]]) }, 'read'), 'outside-grant');
  t.equal(
    code({ ...GRANT, hosts: new Map([['wiki', []]]) }, 'read'),
    'granted',
    'another is had whole',
  );
  t.equal(
    at('payroll.internal') === code({ ...GRANT, hosts: new Map([['crm', []]]) }, undefined),
    true,
    'carriers too',
  );
});

t.test(
  'destination, class of data and action are each held against the grant, by themselves',
  async (t) => {
    t.equal(code(GRANT, 'read'), 'granted');
    t.equal(code({ ...GRANT, destinations: new Set(['wiki']) }, 'read'), 'outside-grant');
    // The class of a destination may have changed since the grant was cut.
    t.equal(code({ ...GRANT, dataClasses: new Set(['public']) }, 'read'), 'outside-grant');
    t.equal(code(GRANT, 'write'), 'outside-grant');
    t.equal(code(GRANT, 'read', 1), 'uses-spent');
  },
);

t.test(
  'what only carries calls takes no use and has no action, but its destination must be granted',
  async (t) => {
    t.equal(code(GRANT, undefined, 1), 'granted');
    t.equal(code({ ...GRANT, destinations: new Set() }, undefined), 'outside-grant');
    t.equal(code({ ...GRANT, dataClasses: new Set() }, undefined), 'outside-grant');
  },
);
