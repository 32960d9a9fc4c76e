/**
 * Tasks, by every way in: no call without one where one is required, none with one that is not
 * live, and none beyond what was granted. Not one byte leaves.
 */
import { mcpRule } from '../../support/mcp.ts';
import { SETTINGS } from '../../support/service.ts';
import {
  type Attack,
  type Attempt,
  CARRIES_NOTHING,
  type Named,
  type World,
  passed,
  refused,
} from '../case.ts';

const REQUIRED = Object.freeze<World>({ tasks: true, destination: { task: 'required' } });
const OPTIONAL = Object.freeze<World>({ tasks: true });
const MESSAGES = Object.freeze<World>({
  tasks: true,
  destination: {
    protocol: 'mcp',
    mcp: SETTINGS,
    rules: [mcpRule('read', 'allow', { tools: ['get_ticket'] })],
  },
});

const as = (...named: Named[]): readonly Attempt[] => named.map((task) => ({ task }));

/** Inside a tunnel that is of no task itself. */
const UNKNOWN = refused('task-unknown');
/** An approval could not say of what it is. */
const UNSEEN = refused('denied', { reason: /nobody could say what is approved/ });
const OUTSIDE = refused('denied', { reason: /^task t-\S+ does not cover this/ });
const CALL = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'get_ticket', arguments: {} },
});

export const TASKS: readonly Attack[] = Object.freeze([
  {
    row: 'G1',
    title: 'a destination that requires a task is asked without one',
    world: REQUIRED,
    attempts: [{}, {}],
    expect: refused('task-required'),
  },
  {
    row: 'G2',
    title: 'a task that has ended, is not that of the secret, or is none',
    world: OPTIONAL,
    attempts: as(
      'completed',
      'revoked',
      'sub-agent of one that ended',
      'secret of another',
      'id of another',
      'id alone',
      'secret alone',
      'person',
      'nothing',
    ),
    expect: UNKNOWN,
  },
  {
    row: 'G2',
    title: 'other schemes, and a live task hidden in something else',
    world: OPTIONAL,
    attempts: as('bearer', 'digest', 'behind text', 'before text', 'not base64'),
    expect: UNKNOWN,
  },
  {
    row: 'G2',
    title: 'two references at once',
    world: OPTIONAL,
    attempts: as('live twice', 'dead before live', 'live before dead'),
    expect: refused('ambiguous', { when: 'read' }),
  },
  {
    row: 'G2',
    title: 'a dead task in front of an MCP server is told in JSON-RPC',
    facet: 'message',
    world: MESSAGES,
    attempts: as('completed', 'secret of another', 'person').map((one) => ({
      ...one,
      method: 'POST',
      path: '/mcp',
      body: CALL,
      fields: [
        'Content-Type: application/json',
        `Content-Length: ${CALL.length}`,
        'MCP-Protocol-Version: 2025-11-25',
      ],
    })),
    expect: UNKNOWN,
  },
  {
    row: 'G3',
    title: 'a destination, or a class of data, that was not granted',
    world: OPTIONAL,
    attempts: as('for elsewhere', 'for other data'),
    expect: OUTSIDE,
  },
  {
    row: 'G3',
    title: 'more calls than were granted',
    world: OPTIONAL,
    attempts: as('spent'),
    expect: refused('denied', { reason: /has made the 1 calls/ }),
    at: CARRIES_NOTHING,
  },
  {
    row: 'G4',
    title:
      'an action that waits for an approval, with none or with that of another destination ' +
      'or another rule',
    world: OPTIONAL,
    attempts: as('not approved', 'approved for elsewhere', 'approved for another rule'),
    expect: refused('step-up-required'),
    at: CARRIES_NOTHING,
  },
  {
    row: 'G4',
    title: 'another call than the one that was approved, and what nobody can be shown',
    world: OPTIONAL,
    attempts: as('approved for other parameters'),
    expect: refused('step-up-required'),
    at: {
      'CONNECT, passthrough': UNSEEN,
      'CONNECT, tcp': UNSEEN,
      'listener, tcp': UNSEEN,
      'forward, WebSocket': UNSEEN,
      'listener, WebSocket': UNSEEN,
      'intercepted, WebSocket': UNSEEN,
      'CONNECT, cleartext WebSocket': UNSEEN,
      ...CARRIES_NOTHING,
    },
  },
  {
    row: 'C5',
    title: 'the credentials of a live task go no further than the sidecar',
    world: OPTIONAL,
    attempts: as('live'),
    expect: passed({ unsent: [/proxy-authorization/i, /Basic /, /\bt-[a-z2-7]{20}\b/] }),
  },
]);
