/** Faults of a relay one side of which was cut off. */
import { Fault } from '../base/fault.ts';
import { tlsFault } from '../tls/faults.ts';

export function agentCut(cause: unknown): Fault {
  return new Fault('client-gone', 'the agent cut the connection', { cause });
}

export function upstreamCut(cause: unknown): Fault {
  return refusedUs(new Fault('upstream-cut', 'the upstream cut the connection', { cause }), '');
}

/**
 * In TLS 1.3 an upstream's refusal of our certificate comes after the handshake, as an alert in
 * place of its first bytes.
 */
export function refusedUs(failure: unknown, host: string): Fault {
  const fault = Fault.from(failure, 'internal');
  const { cause } = fault;
  const alert =
    cause instanceof Error && 'code' in cause && /^ERR_SSL_.*ALERT/.test(String(cause.code));
  return fault.code === 'upstream-cut' && alert
    ? tlsFault(cause, `the upstream ${host}`.trimEnd())
    : fault;
}
