/**
 * An upstream in a process of its own, which SPIRE knows by its program: neither process ever holds
 * the other's key. It is the test's oracle and therefore speaks TLS by node:tls alone: it trusts
 * its own trust domain, demands a certificate, shows its newest SVID, and reports on standard
 * output what it saw, one JSON a line.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { until } from '../support/until.ts';
import { follow } from './followed.ts';
import type { Program } from './spire.ts';

/** A connection whose TLS handshake ended well on the upstream's side. */
export interface Seen {
  /** 1, 2, 3 … in the order of the TCP connections. */
  readonly number: number;
  /** Of the caller's leaf. */
  readonly serial: string;
  readonly names: string;
  readonly resumed: boolean;
}

type Report =
  | { readonly port: number }
  | { readonly seen: Seen }
  | { readonly closed: number; readonly bytes: number };

export interface UpstreamProcess extends AsyncDisposable {
  readonly port: number;
  readonly seen: readonly Seen[];
  /**
   * Application bytes received on each TCP connection that has ended, by its number; 0 also when no
   * handshake came about.
   */
  readonly received: ReadonlyMap<number, number>;
}

/** What `/slow` takes, in milliseconds: longer than an SVID of 20 s stays the newest. */
export const SLOW_MS = 9_000;
const SLOW_PIECES = 18;

/**
 * Starts the program as an upstream with the identity that SPIRE gives it; waits until it listens.
 */
export async function startUpstream(
  program: Program,
  workloadApi: string,
  ownDomain: string,
): Promise<UpstreamProcess> {
  const script = `
    import { serveUpstream } from ${JSON.stringify(import.meta.filename)};
    await serveUpstream(...process.argv.slice(1));`;
  const child = spawn(program.path, ['--input-type=module', '-e', script, workloadApi, ownDomain], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const [seen, received, ports] = [[] as Seen[], new Map<number, number>(), [] as number[]];
  createInterface(child.stdout).on('line', (line) => {
    const report = JSON.parse(line) as Report;
    if ('port' in report) ports.push(report.port);
    else if ('seen' in report) seen.push(report.seen);
    else received.set(report.closed, report.bytes);
  });
  const close = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  try {
    const listening = async (): Promise<number | undefined> => {
      if (child.exitCode !== null) throw new Error(`the upstream ended with ${child.exitCode}`);
      return ports[0];
    };
    return {
      port: await until('the upstream listens', listening, 30_000),
      seen,
      received,
      [Symbol.asyncDispose]: close,
    };
  } catch (failure) {
    await close();
    throw failure;
  }
}

function say(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

/** What the child runs, until its standard input ends. */
export async function serveUpstream(workloadApi: string, ownDomain: string): Promise<void> {
  await using own = follow({ workloadApi });
  const over = once(process.stdin.resume(), 'end');
  const first = await own.identity('the upstream has an SVID');
  const lines = new Map<number, Line>();
  const server = createServer(
    { ...contextOf(first, ownDomain), requestCert: true, rejectUnauthorized: true },
    (socket) => {
      const line = lines.get(socket.remotePort ?? 0);
      if (line !== undefined) serve(socket, line, () => own.source.current().svid.serial);
    },
  );
  let count = 0;
  server.on('connection', (raw: Socket) => {
    count += 1;
    const port = raw.remotePort ?? 0;
    const line: Line = { number: count, raw, bytes: 0 };
    lines.set(port, line);
    raw.on('error', () => 'the close that follows is reported');
    raw.once('close', () => {
      lines.delete(port);
      say({ closed: line.number, bytes: line.bytes });
    });
  });
  const done = new AbortController();
  const renew = (): void => server.setSecureContext(contextOf(own.source.current(), ownDomain));
  own.source.states.follow((state) => state.kind === 'current' && renew(), done.signal);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  say({ port: (server.address() as AddressInfo).port });
  await over;
  done.abort();
  for (const { raw } of lines.values()) raw.destroy();
  server.close();
}

function contextOf({ svid, bundles }: Identity, ownDomain: string): SecureContextOptions {
  return {
    cert: svid.chain.map(String).join(''),
    key: svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    ca: (bundles.get(parseTrustDomain(ownDomain))?.anchors ?? []).map(String),
  };
}

/** A TCP connection to the upstream. */
interface Line {
  readonly number: number;
  readonly raw: Socket;
  /** Application bytes received. */
  bytes: number;
}

/** Answers GET with both serials; `/slow` in pieces. */
function serve(socket: TLSSocket, line: Line, ownSerial: () => string): void {
  const leaf = socket.getPeerX509Certificate();
  const serial = leaf?.serialNumber ?? '';
  say({
    seen: {
      number: line.number,
      serial,
      names: leaf?.subjectAltName ?? '',
      resumed: socket.isSessionReused(),
    },
  });
  let head = '';
  const shown = ownSerial();
  socket.on('error', () => 'the close that follows is reported');
  socket.on('data', (chunk: Buffer) => {
    line.bytes += chunk.length;
    head += chunk.toString('latin1');
    if (!head.endsWith('\r\n\r\n')) return;
    const slow = head.startsWith('GET /slow ');
    head = '';
    answer(socket, JSON.stringify({ caller: serial, shown }), slow).catch((failure: unknown) =>
      socket.destroy(failure instanceof Error ? failure : new Error(String(failure))),
    );
  });
}

async function answer(socket: TLSSocket, body: string, slow: boolean): Promise<void> {
  if (!slow) {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    return;
  }
  const padded = body.padEnd(SLOW_PIECES * 8);
  const size = padded.length / SLOW_PIECES;
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${padded.length}\r\n\r\n`);
  for (let piece = 0; piece < SLOW_PIECES; piece += 1) {
    await wait(SLOW_MS / SLOW_PIECES);
    socket.write(padded.slice(Math.floor(piece * size), Math.floor((piece + 1) * size)));
  }
}
