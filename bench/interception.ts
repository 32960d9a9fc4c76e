/**
 * What interception costs: a tunnel with TLS up in it, its certificate at hand or made for it, and
 * a request inside one, each beside what it is measured against. The agent and the upstream are a
 * process of their own; the figures are the CPU of the sidecar's.
 *
 *   node bench/interception.ts          prints the table; exits 1 when a bar is missed
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as tlsConnect, TLSSocket } from 'node:tls';
import { cell } from '../lib/base/cell.ts';
import { systemClock } from '../lib/base/clock.ts';
import { Fault } from '../lib/base/fault.ts';
import { loadConfig } from '../lib/config/load/load.ts';
import { startProxy } from '../lib/listen/proxy.ts';
import { tlsContexts } from '../lib/tls/context.ts';
import { openInterception } from '../lib/interception/authority.ts';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the agent is told to do, and how often. */
interface Order {
  readonly what: 'bare' | 'cached' | 'issued' | 'inside' | 'forward';
  readonly times: number;
  readonly port: number;
  readonly ca: string;
}

const HOST = 'a.example.com';
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** One tunnel with TLS up in it; `bare` is TLS without one. */
async function secured({ port, ca }: Order, host: string, bare = false): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  if (!bare) {
    socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    await once(socket, 'data');
  }
  const tls = tlsConnect({ socket, servername: host, ca });
  await once(tls, 'secureConnect');
  return tls;
}

async function requests(socket: Socket, text: string, times: number): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    socket.write(text);
    await once(socket, 'data');
  }
  socket.destroy();
}

async function obey(order: Order): Promise<void> {
  const { what, times, port } = order;
  if (what === 'inside')
    return requests(await secured(order, HOST), `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, times);
  if (what === 'forward') {
    const text = `GET http://${HOST}:443/ HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`;
    return requests(connect({ host: '127.0.0.1', port, noDelay: true }), text, times);
  }
  for (let i = 0; i < times; i += 1) {
    const host = what === 'issued' ? `h${i}.example.com` : HOST;
    (await secured(order, host, what === 'bare')).destroy();
  }
}

async function agent(): Promise<void> {
  const upstream = createHttp((_, response) => response.end('ok'));
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  process.on('message', (order: Order) => void obey(order).then(() => process.send?.('done')));
  process.send?.((upstream.address() as AddressInfo).port);
}

const document = (port: number): string => `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  audit: { sinks: [{ stdout: true }] }
  defaults: { task: optional }
  forward: { address: 127.0.0.1:0 }
  intercept: { domains: [example.com] }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: saas }
spec:
  hosts: ['*.example.com']
  ports: [443]
  upstream: { address: '127.0.0.1:${port}' }
  tls: { mode: plaintext, intercept: true }
  rules: [{ name: read, effect: allow, action: read, http: { methods: [GET] } }]
`;

const ROUNDS = 3;

/**
 * us of this process for each of so many: the least of a few rounds, because what else the machine
 * does only adds.
 */
async function cost(child: ChildProcess, order: Order): Promise<number> {
  const told = async (times: number): Promise<void> => {
    child.send({ ...order, times });
    await once(child, 'message');
  };
  if (order.what !== 'issued') await told(order.times / 10);
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    const before = process.cpuUsage();
    await told(order.times);
    const { user, system } = process.cpuUsage(before);
    rounds.push((user + system) / order.times);
  }
  return Math.min(...rounds);
}

async function sidecar(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-bench-'));
  const child = fork(import.meta.filename, ['agent']);
  try {
    const [port] = (await once(child, 'message')) as [number];
    const file = join(folder, 'chaperone.yaml');
    await writeFile(file, document(port));
    const { policy, sidecar: settings } = await loadConfig([file], { generation: 1 });
    using interception = await openInterception({
      domains: ['example.com'],
      folder: undefined,
      clock: systemClock,
    });
    const none = (): never => {
      throw new Fault('no-identity', 'none is needed here');
    };
    await using proxy = await startProxy({
      sidecar: settings,
      policy: cell(policy),
      identity: { states: cell(), current: none, fetchJwtSvid: none },
      audit: { write: () => Promise.resolve() },
      contexts: tlsContexts(),
      clock: systemClock,
      shutdown: new AbortController().signal,
      interception,
    });
    const secureContext = await interception.contextFor(HOST);
    const bare = createServer((raw) =>
      new TLSSocket(raw, { isServer: true, secureContext }).on('error', () => 'left'),
    );
    bare.listen(0, '127.0.0.1');
    await once(bare, 'listening');
    const ca = interception.authority().toString();
    const forward = proxy.addresses.get('forward')?.port ?? 0;
    const of = (what: Order['what'], times: number, at = forward): Promise<number> =>
      cost(child, { what, times, port: at, ca });
    const figures = {
      bare: await of('bare', 400, (bare.address() as AddressInfo).port),
      cached: await of('cached', 400),
      issued: await of('issued', 300),
      inside: await of('inside', 5000),
      forward: await of('forward', 5000),
    };
    bare.close();
    return report(figures);
  } finally {
    child.kill();
    await rm(folder, { recursive: true, force: true });
  }
}

function report(figures: Readonly<Record<Order['what'], number>>): number {
  const us = (value: number): string => `${value.toFixed(0).padStart(6)} us`;
  const rows: readonly (readonly [string, number, number, number])[] = [
    [
      'a tunnel, its certificate at hand, to a bare TLS handshake',
      figures.cached,
      figures.bare,
      3.5,
    ],
    ['a tunnel, its certificate made, to a bare TLS handshake', figures.issued, figures.bare, 16],
    ['a request inside a tunnel, to one by http://', figures.inside, figures.forward, 3],
  ];
  let missed = 0;
  for (const [what, one, other, most] of rows) {
    const ratio = one / other;
    if (ratio > most) missed += 1;
    const verdict = ratio > most ? 'missed' : 'held';
    say(`${what}: ${us(one)} to ${us(other)}, ${ratio.toFixed(2)} (at most ${most}: ${verdict})`);
  }
  say(
    `tunnels a second on one core: ${(1e6 / figures.cached).toFixed(0)}, ` +
      `${(1e6 / figures.issued).toFixed(0)} with a certificate made for each`,
  );
  return missed === 0 ? 0 : 1;
}

if (process.argv[2] === 'agent') await agent();
else process.exitCode = await sidecar();
