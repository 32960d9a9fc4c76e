/**
 * Requests inside a CONNECT tunnel whose TLS ends at the sidecar. The tunnel itself is honest; what
 * is bent is inside.
 */
import type { Socket } from 'node:net';
import { type TLSSocket, connect } from 'node:tls';
import type { TestConnection } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import type { Stage } from '../stage.ts';
import type { Entry, Manner, Seen } from './entry.ts';
import { type Rendered, answerOf, answered, bytesOf, statusesOf } from './http1.ts';
import { FORWARD } from './requests.ts';

export const PROBE = 'GET /smuggled HTTP/1.1\r\nHost: crm.internal\r\n\r\n';

/** Here 443 is the listed port, and the one that goes without saying. */
export function portsHere(authority: string): string {
  return authority.replace(/:(80|443)$/, (_, port: string) => (port === '80' ? ':443' : ':80'));
}

/** What is asked for inside the tunnel of a stage. */
export function renderInside(
  { tunnelTo }: Stage,
  { method = 'GET', authority = tunnelTo, path = '/', ...more }: Attempt,
): Rendered {
  const asked = portsHere(authority);
  const target = more.target ?? (more.absolute === true ? `https://${asked}${path}` : path);
  return { method, target, host: [asked] };
}

export interface Opened {
  readonly line: TestConnection;
  /** Undefined where the CONNECT was refused. */
  readonly tls: TLSSocket | undefined;
}

/** An honest tunnel with TLS up in it. */
export async function openTunnel(stage: Stage, alpn: string): Promise<Opened> {
  const line = await stage.proxy.open();
  const asked = `${stage.tunnelTo}:443`;
  line.write(`CONNECT ${asked} HTTP/1.1\r\nHost: ${asked}\r\n\r\n`);
  await until('CONNECT is answered', () => answered(line.text) || statusesOf(line.text)[0] === 200);
  if (statusesOf(line.text)[0] !== 200) return { line, tls: undefined };
  line.socket.removeAllListeners('data');
  const tls = connect({
    socket: line.socket,
    servername: stage.tunnelTo,
    ca: stage.ca,
    ALPNProtocols: [alpn],
  });
  await new Promise<void>((resolve, reject) =>
    tls.once('secureConnect', resolve).once('error', reject),
  );
  tls.on('error', () => 'a cut inside is seen as its end');
  return { line, tls };
}

interface Heard {
  readonly text: () => string;
  readonly over: () => boolean;
}

function listen(tls: TLSSocket): Heard {
  const chunks: Buffer[] = [];
  let over = false;
  tls.on('data', (chunk: Buffer) => chunks.push(chunk));
  tls.on('end', () => (over = true)).on('close', () => (over = true));
  return { text: () => Buffer.concat(chunks).toString('latin1'), over: () => over };
}

async function strike(stage: Stage, attempt: Attempt, { probing, begins }: Manner): Promise<Seen> {
  const { line, tls } = await openTunnel(stage, 'http/1.1');
  if (tls === undefined) return answerOf(line, 0);
  const { text, over } = listen(tls);
  if (attempt.after === 'a-good-one') {
    tls.write(bytesOf(renderInside(stage, {}), {}));
    await until('the good request is answered', () => answered(text()));
  }
  await until(
    'the tunnel alone is live',
    () => stage.proxy.server.live() === 1 || attempt.after === 'a-busy-one',
  );
  begins();
  const from = text().length;
  const fresh = (): string => text().slice(from);
  tls.write(bytesOf(renderInside(stage, attempt), attempt));
  if (probing) tls.write(PROBE);
  await until(
    'there is an answer or an end',
    () => over() || (answered(fresh()) && !/\r\nconnection: close\r\n/i.test(fresh())),
    20_000,
  );
  const seen = { text: fresh(), statuses: statusesOf(fresh()), cut: over() && !answered(fresh()) };
  line.socket.destroy();
  return seen;
}

async function hold(stage: Stage): Promise<Socket> {
  const before = stage.upstream.received();
  const { line, tls } = await openTunnel(stage, 'http/1.1');
  tls?.write(bytesOf(renderInside(stage, {}), {}));
  await until('the upstream has the request', () => stage.upstream.received() > before);
  return line.socket;
}

export const INTERCEPTED: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'intercepted',
  door: 'intercept',
  facets: new Set([...FORWARD.facets, 'inside']),
  setting: { destination: { intercept: true, ports: [443] }, intercepts: true },
  inside: true,
  strike,
  hold,
});
