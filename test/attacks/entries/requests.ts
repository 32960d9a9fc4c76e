/**
 * Ways in that carry one request after the other over HTTP/1.1: the forward port with
 * absolute-form, and a destination's local listener; and WebSocket over both.
 */
import type { Socket } from 'node:net';
import type { TestConnection } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import { HOST, type Stage } from '../stage.ts';
import { type Entry, type Manner, type Seen, facets } from './entry.ts';
import { PROBE, type Rendered, answerOf, bytesOf, gone, statusesOf } from './http1.ts';

type Render = (attempt: Attempt) => Rendered;

const absolute: Render = ({ method = 'GET', authority = HOST, path = '/', target }) => ({
  method,
  target: target ?? `http://${authority}${path}`,
  host: [authority],
});

const origin: Render = (attempt) => {
  const { method = 'GET', authority = HOST, path = '/', target } = attempt;
  if (attempt.absolute === true) return absolute(attempt);
  return { method, target: target ?? path, host: [authority] };
};

export const upgrading =
  (render: Render): Render =>
  (attempt) => ({
    ...render(attempt),
    fields: [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ],
  });

/** Where a connection is opened, and what is sent behind what must be refused there. */
export interface Door {
  readonly open: (stage: Stage, attempt: Attempt) => Promise<TestConnection>;
  readonly probe: string;
  /** The tunnel that it lies in is live as long as it is. */
  readonly inside?: true;
}

const FORWARD_PORT: Door = { open: ({ proxy }) => proxy.open('forward'), probe: PROBE };
const OWN_LISTENER: Door = { open: ({ proxy, name }) => proxy.open(name), probe: PROBE };

export async function request(
  stage: Stage,
  { open, probe, inside }: Door,
  render: Render,
  [attempt, { probing, begins }]: Try,
): Promise<Seen> {
  const line = await open(stage, attempt);
  if (attempt.after === 'a-good-one') {
    line.write(bytesOf(render({}), {}));
    await until(
      'the good request is answered',
      () => statusesOf(line.text)[0] === 200 || undefined,
    );
    const idle = inside === true ? 1 : 0;
    await until('the good exchange is over', () => stage.proxy.server.live() === idle);
  }
  if (statusesOf(line.text).some((status) => status >= 400)) return answerOf(line, 0);
  begins();
  const from = line.text.length;
  line.write(bytesOf(render(attempt), attempt));
  if (probing) line.write(probe);
  return answerOf(line, from);
}

export async function waiting(stage: Stage, { open }: Door, render: Render): Promise<Socket> {
  const before = stage.upstream.received();
  const { socket } = await open(stage, {});
  socket.write(bytesOf(render({}), {}));
  await until('the upstream has the request', () => stage.upstream.received() > before);
  return socket;
}

export async function webSocket(
  stage: Stage,
  { open, probe }: Door,
  render: Render,
  [attempt, { probing, begins }]: Try,
): Promise<Seen> {
  const line = await open(stage, attempt);
  if (statusesOf(line.text).some((status) => status >= 400)) return answerOf(line, 0);
  begins();
  line.write(bytesOf(render(attempt), attempt));
  if (probing) {
    line.write(probe);
    return answerOf(line, 0);
  }
  await until('the handshake is answered', () => line.reset || statusesOf(line.text)[0]);
  if (statusesOf(line.text)[0] !== 101) return answerOf(line, 0);
  line.write('frame');
  await line.sees('frame');
  line.socket.end();
  await gone(line);
  return { text: line.text, statuses: statusesOf(line.text), cut: line.reset };
}

type Try = readonly [attempt: Attempt, how: Manner];

export const OF_REQUESTS = [
  'authority',
  'target',
  'method',
  'path',
  'fields',
  'body',
  'head',
  'later',
  'address',
  'peer',
  'answer',
  'message',
] as const;
export const OF_WEBSOCKETS = [
  'authority',
  'target',
  'path',
  'fields',
  'head',
  'upgrade',
  'address',
  'peer',
] as const;

export const FORWARD: Entry = Object.freeze<Entry>({
  name: 'forward',
  door: 'forward',
  outcome: 'request',
  facets: facets(...OF_REQUESTS),
  setting: { destination: {} },
  passes: 200,
  requests: true,
  strike: (stage, attempt, how) => request(stage, FORWARD_PORT, absolute, [attempt, how]),
  hold: (stage) => waiting(stage, FORWARD_PORT, absolute),
});

export const LISTENER: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'listener',
  door: 'listener',
  setting: { destination: { listen: true } },
  strike: (stage, attempt, how) => request(stage, OWN_LISTENER, origin, [attempt, how]),
  hold: (stage) => waiting(stage, OWN_LISTENER, origin),
});

export const FORWARD_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'forward, WebSocket',
  facets: facets(...OF_WEBSOCKETS),
  setting: { destination: {}, serve: 'websocket' },
  passes: 101,
  strike: (stage, attempt, how) =>
    webSocket(stage, FORWARD_PORT, upgrading(absolute), [attempt, how]),
  hold: (stage) => waiting(stage, FORWARD_PORT, upgrading(absolute)),
});

export const LISTENER_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...FORWARD_WEBSOCKET,
  name: 'listener, WebSocket',
  door: 'listener',
  setting: { destination: { listen: true }, serve: 'websocket' },
  strike: (stage, attempt, how) =>
    webSocket(stage, OWN_LISTENER, upgrading(origin), [attempt, how]),
  hold: (stage) => waiting(stage, OWN_LISTENER, upgrading(origin)),
});
