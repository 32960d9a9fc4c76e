/**
 * The server's side of TLS with an agent that we stand in for somebody to. The agent is not asked
 * for a certificate: who it is is known by the port it reached. What the agent's ClientHello asks
 * for has been read and judged before; its bytes are handed in with the socket.
 */
import type { Duplex } from 'node:stream';
import { TLSSocket, type SecureContext } from 'node:tls';
import { Fault } from '../base/fault.ts';
import { handshaken } from '../tls/handshake.ts';

export interface TerminateOptions {
  /** The only host that may be asked for. */
  readonly host: string;
  readonly context: SecureContext;
  /** Protocols spoken, in order of preference (RFC 7301). */
  readonly alpn: readonly string[];
  /** Aborts with the Fault to report. */
  readonly signal: AbortSignal;
}

/**
 * Completes the handshake over a paused socket to which the bytes read so far were given back; it
 * owns the socket from here: on failure it is destroyed. Throws a Fault `client-tls`, or the
 * signal's reason.
 */
export function terminateTls(
  raw: Duplex,
  { host, context, alpn, signal }: TerminateOptions,
): Promise<TLSSocket> {
  return handshaken(raw, {
    start: () =>
      new TLSSocket(raw, {
        isServer: true,
        secureContext: context,
        requestCert: false,
        ALPNProtocols: [...alpn],
      }),
    signal,
    // A ClientHello that was asked for again (RFC 8446 section 4.1.4) has not been read by us.
    objection: (socket) =>
      serverNameOf(socket) === host
        ? undefined
        : new Error('it asked for another server the second time'),
    fault: (failure) => failureOf(failure, host),
  });
}

/** The name that the handshake was completed for. */
function serverNameOf(socket: TLSSocket): string | undefined {
  const name: unknown = Reflect.get(socket, 'servername');
  return typeof name === 'string' ? name.toLowerCase() : undefined;
}

/** Alerts by which a program says that it does not take our certificate (RFC 8446 section 6.2). */
const UNTRUSTED =
  /alert (bad certificate|unsupported certificate|certificate (unknown|expired)|unknown ca)/i;

function failureOf(failure: unknown, host: string): Fault {
  if (failure instanceof Fault) return failure;
  const text = textOf(failure);
  if (UNTRUSTED.test(text)) {
    return new Fault(
      'client-tls',
      `the agent does not trust our certificate for ${host} (${text})`,
      {
        hint:
          'give the program the interception CA (chaperone trust); a program that pins ' +
          'certificates cannot be intercepted and stays refused',
        cause: failure,
      },
    );
  }
  return new Fault('client-tls', `the agent completed no TLS handshake for ${host}: ${text}`, {
    hint:
      'TLS 1.2 or 1.3 is spoken here; a program that closes now may not trust the ' +
      'interception CA (chaperone trust) or pin another',
    cause: failure,
  });
}

function textOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  return 'reason' in failure && typeof failure.reason === 'string'
    ? failure.reason
    : failure.message;
}
