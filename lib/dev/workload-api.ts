/**
 * The embedded development identity: a real SPIFFE Workload API server on a Unix socket, with
 * SPIRE's codes and texts, short-lived SVIDs that rotate by themselves, and switches for everything
 * that can go wrong.
 *
 * IT ATTESTS NOBODY. Node cannot ask the kernel who is at the other end of a Unix socket (it has no
 * SO_PEERCRED), so whoever can open the socket gets every identity. The socket is of mode 0600 in a
 * folder of mode 0700; that is all its protection. It is for development, demos and tests, never
 * for production. Not built: WIT-SVID methods (answered Unimplemented, as SPIRE does), gRPC
 * reflection, per-caller rate limits, selectors.
 */
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { type Clock, systemClock } from '../base/clock.ts';
import { disposer } from '../base/dispose.ts';
import { Fault } from '../base/fault.ts';
import { workloadApiDefinition } from '../identity/service.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { newKeys, pkcs8 } from '../interception/issue.ts';
import { type DevTrustDomain, requireMember } from './domain.ts';
import { type CallFaults, type FaultInjector, faultInjector } from './fault-injection.ts';
import { workloadApiHandlers } from './handlers.ts';
import { type IssuedSvids, issueSvids } from './issued-svids.ts';
import { guardSocket, prepareSocket, removeSocket, socketPath } from './socket.ts';
import type { DevIdentity, ResponseFaults } from './state.ts';

interface DevIdentityOptions {
  /** Path in the trust domain, `/agent`, or a whole SPIFFE ID of it. */
  readonly id: string;
  readonly hint?: string;
}

export interface DevWorkloadApiOptions {
  /** Absolute path or `unix:///path`. Its folder is made with mode 0700, or must have it. */
  readonly socket: string;
  readonly domain: DevTrustDomain;
  /** In order; the first is the default identity. Empty: every caller gets PermissionDenied. */
  readonly identities: readonly DevIdentityOptions[];
  /** Lifetime of an X.509-SVID in ms, issued anew at half of it; default one hour. */
  readonly ttl?: number;
  /** Lifetime of a JWT-SVID in ms; default five minutes, as SPIRE. */
  readonly jwtTtl?: number;
  /** Trust domains whose bundles are given out beside the own one. */
  readonly federated?: readonly DevTrustDomain[];
  readonly allowedForeignClaims?: readonly string[];
  readonly clock?: Clock;
  /** What the operator should read: the warning at the start, and failures to issue. */
  readonly onNote?: (text: string) => void;
}

/**
 * The fault switches of what is sent; those of calls are `CallFaults`. All take effect on open
 * streams too, once their promise is fulfilled.
 */
export interface DevWorkloadApi
  extends AsyncDisposable, CallFaults, Omit<IssuedSvids, 'state' | 'setFaults' | 'setIdentities'> {
  /** `unix:///…`, as SPIFFE_ENDPOINT_SOCKET takes it. */
  readonly endpoint: string;
  readonly socket: string;
  readonly domain: DevTrustDomain;
  setIdentities(identities: readonly DevIdentityOptions[]): Promise<void>;
  setJwtTtl(ms: number): void;
  /**
   * Breaks responses in the given ways and no other; `{}` makes them right again. `foreignKey:
   * true` makes a key that fits no certificate.
   */
  breakResponses(
    faults: Omit<ResponseFaults, 'foreignKey'> & { readonly foreignKey?: boolean },
  ): Promise<void>;
  /**
   * Ends every connection and removes the socket, as an agent that is gone; open calls end with
   * CANCELLED or Unavailable.
   */
  stop(): Promise<void>;
  /** Listens again on the same path, with the state as it is. */
  start(): Promise<void>;
}

/** What a start-up banner must say. */
export const ATTESTS_NOBODY =
  'development identity: this Workload API attests nobody; whoever can open its socket ' +
  'gets every identity. Never use it in production';

/** Workload API section 8. */
const MAX_HINT = 1024;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/**
 * Starts serving. Throws a Fault 'listen' where it must not or cannot listen, 'bad-spiffe-id' for
 * an identity of another trust domain.
 */
export async function startDevWorkloadApi(options: DevWorkloadApiOptions): Promise<DevWorkloadApi> {
  const { domain, clock = systemClock, onNote = () => {}, ttl = HOUR_MS } = options;
  let { jwtTtl = 5 * MINUTE_MS } = options;
  const socket = socketPath(options.socket);
  const parse = (list: readonly DevIdentityOptions[]): readonly DevIdentity[] =>
    list.map((entry) => identity(entry, domain));
  const calls = faultInjector(clock);
  const closing = disposer();
  const { federated = [], allowedForeignClaims = [] } = options;
  const issued = closing.use(
    await issueSvids({
      domain,
      identities: parse(options.identities),
      federated,
      ttl,
      clock,
      onNote,
    }),
  );
  const handlers = workloadApiHandlers({
    injector: calls,
    state: issued.state,
    domain,
    jwtTtl: () => jwtTtl,
    clock,
    allowedForeignClaims,
  });
  const listener = closing.use(listenOn(socket, calls, handlers));
  try {
    await listener.start();
  } catch (failure) {
    await closing[Symbol.asyncDispose]();
    throw failure;
  }
  onNote(ATTESTS_NOBODY);
  return {
    ...calls.faults,
    ...issued,
    endpoint: `unix://${socket}`,
    socket,
    domain,
    setIdentities: (list) => issued.setIdentities(parse(list)),
    setJwtTtl: (ms) => void (jwtTtl = ms),
    async breakResponses({ foreignKey = false, ...faults }) {
      await issued.setFaults({
        ...faults,
        ...(foreignKey && { foreignKey: await pkcs8(await newKeys()) }),
      });
    },
    stop: () => listener.stop(),
    start: () => listener.start(),
    [Symbol.asyncDispose]: () => closing[Symbol.asyncDispose](),
  };
}

function identity({ id, hint = '' }: DevIdentityOptions, { name }: DevTrustDomain): DevIdentity {
  const parsed = parseSpiffeId(id.startsWith('/') ? `spiffe://${name}${id}` : id);
  requireMember(name, parsed);
  if (Buffer.byteLength(hint) > MAX_HINT) {
    throw new Fault('config', `the hint of ${parsed} is longer than ${MAX_HINT} bytes`);
  }
  return Object.freeze({ id: parsed, hint });
}

interface SocketListener extends AsyncDisposable {
  start(): Promise<void>;
  stop(): Promise<void>;
}

type Handlers = ReturnType<typeof workloadApiHandlers>;

function listenOn(socket: string, calls: FaultInjector, handlers: Handlers): SocketListener {
  let server: Server | undefined;
  const stop = async (): Promise<void> => {
    if (server === undefined) return;
    server.forceShutdown();
    server = undefined;
    await removeSocket(socket);
  };
  return {
    async start() {
      if (server !== undefined) return;
      await prepareSocket(socket);
      const next = new Server({ interceptors: [calls.interceptor] });
      next.addService(byteService(), handlers);
      await bind(next, socket);
      server = next;
      await guardSocket(socket);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The Workload API whose responses are bytes already. */
function byteService(): ServiceDefinition {
  const methods = Object.entries(workloadApiDefinition()).map(([name, method]) => [
    name,
    { ...method, responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes) },
  ]);
  return Object.fromEntries(methods) as ServiceDefinition;
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (failure) => {
      if (failure === null) resolve();
      else
        reject(
          new Fault('listen', `cannot serve on ${path}: ${failure.message}`, { cause: failure }),
        );
    });
  });
}
