/**
 * Protocol tcp, and mode passthrough whatever its protocol: connections in which no request is
 * seen. Being the destination is the permission, unless its document says when.
 */
import { formatAuthority } from '../../net/authority.ts';
import type { MatrixRow } from '../model/access-matrix.ts';
import type { Condition } from '../model/condition.ts';
import type { Permission } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { Verdict } from '../model/verdict.ts';
import { nothing, uninspectable } from './by-rules.ts';
import { OURS, refusedAt } from './entries.ts';
import type { ProtocolRow } from './row.ts';

export interface TcpService {
  readonly protocol: 'tcp';
  /** What must hold for a connection; undefined: nothing. */
  readonly when: Condition | undefined;
}

const PASSTHROUGH: readonly MatrixRow['modes'][number][] = Object.freeze(['passthrough']);
const NOT_HTTP = 'it is not an HTTP destination (protocol tcp)';
const AGENT_TLS = 'it is a passthrough destination, in which the agent speaks TLS itself';

const ENTRIES: readonly MatrixRow[] = Object.freeze([
  refusedAt('forward', OURS, NOT_HTTP, 'use CONNECT, or the local listener of the destination'),
  refusedAt(
    'forward',
    PASSTHROUGH,
    AGENT_TLS,
    'use an https:// URL, which makes the client send CONNECT',
  ),
  Object.freeze({
    entry: 'connect',
    modes: PASSTHROUGH,
    outcome: 'tunnel',
    why:
      "the agent's own TLS passes through, once its ClientHello names the host of the " +
      'CONNECT request',
    hint: undefined,
  } as const),
  Object.freeze({
    entry: 'connect',
    modes: OURS,
    outcome: 'wrapped',
    why: 'the bytes of the tunnel are wrapped in TLS that starts here',
    hint: undefined,
  } as const),
  refusedAt('cleartext', OURS, NOT_HTTP, 'connect again'),
  refusedAt('cleartext', PASSTHROUGH, AGENT_TLS, 'connect again'),
  refusedAt('intercept', OURS, NOT_HTTP, 'connect again'),
  refusedAt('intercept', PASSTHROUGH, AGENT_TLS, 'connect again'),
  Object.freeze({
    entry: 'listener',
    modes: OURS,
    outcome: 'wrapped',
    why: 'the bytes of the connection are wrapped in TLS that starts here',
    hint: undefined,
  } as const),
  refusedAt(
    'listener',
    PASSTHROUGH,
    'a passthrough destination is reached by CONNECT, whose host the ClientHello is ' +
      'held against',
    'use an https:// URL through the forward proxy',
  ),
]);

/** A connection in which nothing is seen. */
export const CONNECTION: Permission = Object.freeze({
  text: 'a connection, unseen inside',
  covers: (other: Permission) => other === CONNECTION,
  overlaps: (other: Permission) => other === CONNECTION,
});

export const TCP: ProtocolRow<TcpService, never> = Object.freeze({
  name: 'tcp',
  phase: 'connect',
  http2: false,
  upstreamGreets: true,
  entries: ENTRIES,
  judge,
  rules: () => NONE,
  condition: ({ when }) => when,
  mayAllowContentOnGet: () => false,
  mismatch: nothing,
  permissionsOf: () => NONE,
  permitted: ({ action, service }) => [
    { permission: CONNECTION, action, rule: undefined, when: service.when?.text },
  ],
  outflow: nothing,
  stopsOutflow: () => false,
  loosened: nothing,
  note: nothing,
  suggest: () => NONE,
} satisfies ProtocolRow<TcpService, never>);

const NONE: readonly never[] = Object.freeze([]);

function judge(question: Question<TcpService>): Verdict {
  const { destination, facts } = question;
  const { name, service } = destination;
  if (facts.http !== undefined) return uninspectable(destination);
  const where = formatAuthority(facts.host, facts.port);
  const answer = service.when === undefined || question.ask(service.when);
  if (answer === true)
    return { code: 'allowed', reason: `destination ${name} allows connections to ${where}` };
  const hint = 'see when of the destination';
  if (answer === false) {
    const reason = `the condition of destination ${name} does not hold for a connection to ${where}`;
    return { code: 'no-rule-matched', reason, hint };
  }
  const { problem } = answer;
  const reason =
    `the condition of destination ${name} could not be evaluated for a connection to ` +
    `${where} (${problem})`;
  return { code: 'condition-failed', reason, hint, policyError: `${name}: ${problem}` };
}
