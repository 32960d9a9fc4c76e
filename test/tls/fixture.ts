/**
 * What the TLS tests share: a domain with our identity, and one attempt to connect to an upstream
 * or to be called, over real sockets.
 */
import { once } from 'node:events';
import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TlsPolicy } from '../../lib/policy/model/destination.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { acceptTls, type AcceptTlsOptions } from '../../lib/tls/accept.ts';
import {
  connectTls,
  type ConnectTlsOptions,
  type VerifiedConnection,
} from '../../lib/tls/connect.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { testAuthority, type TestAuthority, type TestIssuer } from '../support/authority.ts';

export interface Domain {
  readonly authority: TestAuthority;
  readonly identity: Identity;
}

/** example.org with our own SVID, and the bundles of other domains. */
export async function domain(...federated: readonly TestIssuer[]): Promise<Domain> {
  const authority = await testAuthority();
  const identity = authority.identity(await authority.svid('/ours'), federated);
  return { authority, identity };
}

export function policy(
  given: Partial<Omit<TlsPolicy, 'peers'>> & { readonly peers?: readonly string[] } = {},
): TlsPolicy {
  const { peers = ['spiffe://example.org/upstream'], ...rest } = given;
  return {
    mode: 'mtls',
    serverName: undefined,
    roots: undefined,
    insecure: false,
    intercept: false,
    ...rest,
    peers: peers.map(parsePeerPattern),
  };
}

export const NEVER = new AbortController().signal;

export type Outcome =
  | { readonly connection: VerifiedConnection; readonly fault?: never }
  | { readonly connection?: never; readonly fault: Fault };

export function reached(outcome: Outcome): VerifiedConnection {
  if (outcome.connection === undefined) throw outcome.fault;
  return outcome.connection;
}

export async function settled(connecting: Promise<VerifiedConnection>): Promise<Outcome> {
  try {
    return { connection: await connecting };
  } catch (failure) {
    if (failure instanceof Fault) return { fault: failure };
    throw failure;
  }
}

/** Dials as the proxy does. */
export async function dialled(upstream: {
  readonly host: string;
  readonly port: number;
}): Promise<Socket> {
  const raw = dial({
    host: upstream.host,
    port: upstream.port,
    noDelay: true,
    allowHalfOpen: true,
  });
  raw.on('error', () => 'part of many tests');
  await once(raw, 'connect');
  return raw;
}

/** Connects as the proxy does and, when that succeeds, says one line as its agent would. */
export async function attempt(
  upstream: { readonly host: string; readonly port: number },
  options: Pick<ConnectTlsOptions, 'identity'> & Partial<ConnectTlsOptions>,
): Promise<Outcome> {
  const raw = await dialled(upstream);
  const outcome = await settled(
    connectTls(raw, {
      tls: policy(),
      host: 'crm.internal',
      contexts: tlsContexts(),
      signal: NEVER,
      now: Date.now,
      ...options,
    }),
  );
  if (outcome.connection !== undefined)
    outcome.connection.socket.write('GET / HTTP/1.1\r\nhost: crm.internal\r\n\r\n');
  else if (!raw.destroyed) throw new Error('the socket is still there');
  return outcome;
}

export interface Accepting extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** The outcome of the first call that was accepted or refused. */
  readonly outcome: Promise<Outcome>;
}

/** A server of one call. */
export async function accepting(
  options: Partial<AcceptTlsOptions> & Pick<AcceptTlsOptions, 'identity'>,
): Promise<Accepting> {
  const first = Promise.withResolvers<Outcome>();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
    sockets.add(raw);
    const done = settled(
      acceptTls(raw, {
        callers: [parsePeerPattern('spiffe://example.org/caller')],
        contexts: tlsContexts(),
        signal: NEVER,
        now: Date.now,
        ...options,
      }),
    );
    done.then(first.resolve, first.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    outcome: first.promise,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
