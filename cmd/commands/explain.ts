/**
 * `chaperone explain METHOD URL`: which rule decides one request, and why, in the words of the 403. The request is described and decided by the
 * functions of the proxy itself; nothing is dialled or resolved.
 */
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load.ts';
import { parseRequestHead } from '../../lib/http1/head.ts';
import { http1Limits } from '../../lib/http1/limits.ts';
import type { RequestHead } from '../../lib/http1/message.ts';
import { formatAuthority, parseAuthority } from '../../lib/policy/authority.ts';
import { decide } from '../../lib/policy/decide.ts';
import type { Decision, Facts } from '../../lib/policy/facts.ts';
import { matrixRow } from '../../lib/policy/matrix.ts';
import type { Policy } from '../../lib/policy/model.ts';
import {
  describeConnect,
  describeForward,
  describeIntercepted,
  describeListener,
  describeRaw,
} from '../../lib/proxy/describe.ts';
import type { Io } from '../io.ts';

export interface ExplainOptions {
  readonly config: readonly string[];
  readonly method: string;
  readonly target: string;
  readonly listener?: string;
  readonly json?: boolean;
}

export async function explain(options: ExplainOptions, io: Io): Promise<void> {
  const { policy } = await loadConfig(options.config, { generation: 1 });
  const facts = factsOf(options, policy);
  const decision = decide(policy, facts);
  io.out(options.json === true ? JSON.stringify(plain(decision, facts)) : asText(decision, facts, io));
  if (decision.effect === 'deny') process.exitCode = DENIED;
}

/** Exit status of a request that would be denied, as of the Fault `denied`. */
const DENIED = 77;

function factsOf({ method, target, listener }: ExplainOptions, policy: Policy): Facts {
  const now = Date.now();
  const host = method === 'CONNECT' ? target : (/^[a-z]+:\/\/([^/?#]*)/i.exec(target)?.[1] ?? '');
  const head = parseRequestHead(`${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n\r\n`, http1Limits());
  if (head === undefined) throw new Fault('malformed', 'the method or the target is no single line of a request');
  if (method === 'CONNECT') return describeConnect(head, now);
  if (listener === undefined && /^https:/i.test(target)) return throughTunnel(head, host, policy);
  if (listener === undefined) return describeForward(head, now).facts;
  const destination = policy.byName.get(listener);
  if (destination?.listen === undefined) {
    throw new Fault('usage', `no destination ${JSON.stringify(listener)} has a local listener`, {
      hint: 'see spec.listen',
    });
  }
  if (destination.protocol === 'tcp') return describeRaw(destination, now);
  return describeListener(head, { destination, local: destination.listen }, now).facts;
}

/** What an https:// URL comes to: the CONNECT that a client sends for it, or the request inside where the destination is intercepted. */
function throughTunnel(head: RequestHead, named: string, policy: Policy): Facts {
  const authority = parseAuthority(named, 443);
  const target = formatAuthority(authority.host, authority.port);
  const connect = describeConnect({ ...head, method: 'CONNECT', target, fields: ['host', target] }, Date.now());
  const { effect, destination } = decide(policy, connect);
  const opened = effect === 'allow' && destination !== undefined;
  if (!opened || matrixRow('connect', destination).outcome !== 'intercepted') return connect;
  return describeIntercepted(head, authority, Date.now()).facts;
}

function plain(decision: Decision, facts: Facts): Readonly<Record<string, unknown>> {
  const { effect, code, reason, hint, destination, rule, action } = decision;
  return { effect, code, reason, hint, destination: destination?.name, at: destination?.at, rule, action, facts };
}

function asText({ effect, code, reason, hint, destination, rule }: Decision, facts: Facts, { style }: Io): string {
  const lines = [`${effect === 'allow' ? style.good('allow') : style.bad('deny')} (${code}): ${reason}`];
  if (hint !== undefined) lines.push(`  hint: ${hint}`);
  if (destination !== undefined) lines.push(`  destination: ${destination.name}, ${destination.at}`);
  if (rule !== undefined) lines.push(`  rule: ${rule}`);
  const asked = facts.http === undefined ? '' : `, ${facts.http.method} ${facts.http.path}`;
  lines.push(`  judged: ${facts.entry}, ${facts.host} port ${facts.port}${asked}`);
  return lines.join('\n');
}
