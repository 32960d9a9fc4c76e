/**
 * Where the attempts of one entry point and one world are made: a whole proxy over real sockets,
 * one upstream that writes down every byte, a resolver that writes down every question, and a trap
 * that nobody may ever talk to: the proxy that the environment names.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { Resolver } from '../../lib/upstream/resolver.ts';
import { echo } from '../support/answer.ts';
import { type TestAuthority, testAuthority } from '../support/authority.ts';
import {
  type DestinationOptions,
  policyOf,
  rule,
  testDestination,
} from '../support/destination.ts';
import { type TestProxy, type TestProxyOptions, testProxy } from '../support/proxy.ts';
import { type MtlsUpstream, type TlsConnection, mtlsUpstream } from '../support/upstream.ts';
import type { Attempt, World } from './case.ts';
import { guests } from './tasks.ts';

export interface Stage extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: MtlsUpstream;
  /** What the resolver was asked, absolute names with their dot. */
  readonly asked: readonly string[];
  /** Name of the destination, and of its listener. */
  readonly name: string;
  /** The attempt under way, from which the fakes take their part. */
  set(attempt: Attempt): Promise<void>;
  /** The host that a tunnel goes to. */
  readonly tunnelTo: string;
  /** PEM of the authority that stands in for hosts inside tunnels. */
  readonly ca: string;
  /** The attempt with the task that it names. */
  dressed(attempt: Attempt): Attempt;
  /** A new SVID, in a new generation of the identity. */
  rotate(): Promise<void>;
}

export interface Setting {
  /** What the entry point needs of its destination. */
  readonly destination: DestinationOptions;
  /** The upstream takes anybody: in a passthrough tunnel it is the agent who speaks TLS. */
  readonly anyone?: true;
  /** The sidecar stands in for hosts inside tunnels. */
  readonly intercepts?: true;
  /** How the upstream of this entry point answers; HTTP is the default. */
  readonly serve?: 'websocket' | 'bytes';
}

export const HOST = 'crm.internal';
/** Of the hosts that worlds have, what the interception stands in for. */
const COVERED = ['crm.internal', 'wild.example', 'nip.io', 'sslip.io', 'example.com'];

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';

export async function stage(
  { destination: own, anyone, serve, intercepts }: Setting,
  world: World,
): Promise<Stage> {
  const authority = await testAuthority();
  const strangers = {
    'another-authority': await testAuthority(),
    'another-domain': await otherDomain(),
  };
  const upstreamSvid = await authority.svid('/upstream', { dns: [HOST] });
  let now: Attempt = {};
  const upstream = await mtlsUpstream({
    authority,
    svid: upstreamSvid,
    client: anyone ? 'none' : 'require',
    ...answers(serve, () => now),
  });
  const asked: string[] = [];
  const resolver = resolving(asked, () => now);
  const identity = await identityFor(authority, world, strangers['another-domain']);
  const at = { host: '127.0.0.1', port: upstream.port };
  const destination = destinationOf(own, world, at);
  const interception =
    intercepts === true
      ? await openInterception({ domains: COVERED, folder: undefined, clock: systemClock })
      : undefined;
  const late: { proxy?: TestProxy } = {};
  const known = world.tasks === true ? guests(destination, () => late.proxy?.server) : undefined;
  const built = (late.proxy = await testProxy({
    authority,
    identity,
    destinations: [destination],
    options: {
      resolver,
      interception,
      ...optionsOf(world, upstream.port),
      ...(known === undefined ? {} : { tasks: known.tasks, policy: known.policy }),
    },
    ...(world.token === undefined ? {} : { fetchJwtSvid: tokens(world.token) }),
  }));
  if (world.self === 'forward')
    built.policy.set(policyOf(destinationOf(own, world, { ...at, port: built.port() })));
  if (world.audit === 'failing')
    built.audit.fail = new Fault('audit-unavailable', 'no space is left on the device');
  let generation = 1;
  return {
    proxy: built,
    upstream,
    asked,
    name: destination.name,
    tunnelTo: tunnelTo(destination),
    ca: interception?.authority().toString() ?? '',
    async set(attempt) {
      now = attempt;
      const { peer } = attempt;
      const issuer = peer?.from === undefined ? authority : strangers[peer.from];
      upstream.present(
        peer === undefined ? upstreamSvid : await issuer.svid(peer.id ?? '/upstream', peer.leaf),
      );
    },
    dressed: (attempt) => known?.dressed(attempt) ?? attempt,
    async rotate() {
      generation += 1;
      const next = authority.identity(await authority.svid('/agent'), [], generation);
      built.identity.set({ kind: 'current', identity: next, problem: undefined });
    },
    async [Symbol.asyncDispose]() {
      await known?.[Symbol.asyncDispose]();
      await built[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
      interception?.[Symbol.dispose]();
    },
  };
}

function tunnelTo({ hosts }: Destination): string {
  const [first] = hosts;
  return first?.kind === 'wildcard' ? `a.b.${first.host}` : (first?.host ?? HOST);
}

function otherDomain(): Promise<TestAuthority> {
  return testAuthority({ trustDomain: 'other.test' });
}

async function identityFor(
  authority: TestAuthority,
  { identity, federated }: World,
  other: TestAuthority,
): Promise<Exclude<TestProxyOptions['identity'], undefined>> {
  if (identity === 'none') return 'none';
  const past = identity === 'expired' ? { notAfter: Date.now() - 1000 } : {};
  return authority.identity(
    await authority.svid('/agent', past),
    federated === true ? [other] : [],
  );
}

function destinationOf(
  own: DestinationOptions,
  world: World,
  upstream: { host: string; port: number },
): Destination {
  return testDestination({
    name: 'crm',
    rules:
      own.protocol === 'tcp' || own.mode === 'passthrough'
        ? []
        : [rule('all', 'allow', { websocket: true })],
    ...own,
    ...(world.resolved === true ? {} : { upstream }),
    ...world.destination,
  });
}

function optionsOf(world: World, port: number): NonNullable<TestProxyOptions['options']> {
  return {
    ...(world.limits === undefined ? {} : { limits: httpLimits(world.limits) }),
    ...((world.self === 'health' || world.self === 'agentApi') && {
      sidecar: {
        forward: { host: '127.0.0.1', port: 0 },
        ...(world.self === 'health'
          ? { health: { host: '0.0.0.0', port } }
          : { agentApi: { tcp: { address: { host: '127.0.0.1', port } } } }),
        audit: { onFailure: 'deny' as const },
      },
    }),
  };
}

function tokens(token: string): NonNullable<TestProxyOptions['fetchJwtSvid']> {
  return () => Promise.resolve({ token, expiresAt: Date.now() + 600_000 });
}

function resolving(asked: string[], now: () => Attempt): Resolver {
  let at: Attempt | undefined;
  let times = 0;
  return {
    resolve: async (name, { absolute }) => {
      asked.push(absolute ? `${name}.` : name);
      const attempt = now();
      times = attempt === at ? times + 1 : 0;
      at = attempt;
      const answer = attempt.dns?.[Math.min(times, attempt.dns.length - 1)];
      if (answer === undefined)
        throw new Fault('upstream-unresolved', `${name} cannot be resolved (ENOTFOUND)`);
      return answer;
    },
  };
}

interface Answers {
  readonly raw?: (socket: Duplex, seen: TlsConnection) => void;
  readonly http?: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

function answers(serve: Setting['serve'], now: () => Attempt): Answers {
  if (serve === 'bytes')
    return {
      raw: (socket) =>
        void socket.on('data', () => socket.write('heard')).on('end', () => socket.end()),
    };
  if (serve === 'websocket')
    return { raw: (socket) => void socket.once('data', switching(socket, now)) };
  return {
    async http(request, response) {
      const said = now().answer;
      if (said === undefined) await echo(request, response);
      else request.socket.write(Buffer.from(await answering(said, request), 'latin1'));
    },
  };
}

/** The answer to a message has the id that the message came with. */
async function answering(said: string, request: IncomingMessage): Promise<string> {
  if (!said.includes('"id":1')) return said;
  const body = Buffer.concat(await request.toArray()).toString();
  const id = /"id":("[^"]*"|\d+)/.exec(body)?.[1] ?? '1';
  return said
    .replace('"id":1', `"id":${id}`)
    .replace(
      /Content-Length: (\d+)/,
      (_, length: string) => `Content-Length: ${Number(length) + id.length - 1}`,
    );
}

function switching(socket: Duplex, now: () => Attempt): (head: Buffer) => void {
  return (head) => {
    const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
    const accept = createHash('sha1')
      .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    const said = now().answer?.replace('ACCEPT', accept);
    socket.write(Buffer.from(said ?? `${SWITCH}Sec-WebSocket-Accept: ${accept}\r\n\r\n`, 'latin1'));
    socket.on('data', (chunk: Buffer) => socket.write(chunk)).on('end', () => socket.end());
  };
}
