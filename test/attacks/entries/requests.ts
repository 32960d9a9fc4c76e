/** Ways in that carry one request after the other over HTTP/1.1: the forward port with absolute-form, and a destination's local listener; and WebSocket over both. */
import type { Socket } from 'node:net';
import { until } from '../../fakes/until.ts';
import type { Attempt } from '../case.ts';
import { HOST, type Stage } from '../stage.ts';
import { facets, type Entry, type Manner, type Seen } from './entry.ts';
import { answerOf, bytesOf, gone, PROBE, statusesOf, type Rendered } from './http1.ts';

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

const upgrading =
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

async function request(stage: Stage, door: string, render: Render, [attempt, { probing, begins }]: Try): Promise<Seen> {
  const line = await stage.bench.open(door);
  if (attempt.after === 'a-good-one') {
    line.write(bytesOf(render({}), {}));
    await until('the good request is answered', () => statusesOf(line.text)[0] === 200 || undefined);
    await stage.bench.quiet();
    begins();
  }
  const from = line.text.length;
  line.write(bytesOf(render(attempt), attempt));
  if (probing) line.write(PROBE);
  return answerOf(line, from);
}

async function waiting(stage: Stage, door: string, render: Render): Promise<Socket> {
  const before = stage.upstream.received();
  const { socket } = await stage.bench.open(door);
  socket.write(bytesOf(render({}), {}));
  await until('the upstream has the request', () => stage.upstream.received() > before);
  return socket;
}

async function webSocket(stage: Stage, door: string, render: Render, [attempt, { probing }]: Try): Promise<Seen> {
  const line = await stage.bench.open(door);
  line.write(bytesOf(render(attempt), attempt));
  if (probing) {
    line.write(PROBE);
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

const OF_REQUESTS = facets(
  ...([
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
  ] as const),
);
const OF_WEBSOCKETS = facets('authority', 'target', 'path', 'fields', 'head', 'upgrade', 'address', 'peer');

export const FORWARD: Entry = Object.freeze<Entry>({
  name: 'forward',
  door: 'forward',
  outcome: 'request',
  facets: OF_REQUESTS,
  setting: { site: {} },
  passes: 200,
  requests: true,
  strike: (stage, attempt, how) => request(stage, 'forward', absolute, [attempt, how]),
  hold: (stage) => waiting(stage, 'forward', absolute),
});

export const LISTENER: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'listener',
  door: 'listener',
  setting: { site: { listen: true } },
  strike: (stage, attempt, how) => request(stage, stage.name, origin, [attempt, how]),
  hold: (stage) => waiting(stage, stage.name, origin),
});

export const FORWARD_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'forward, WebSocket',
  facets: OF_WEBSOCKETS,
  setting: { site: {}, serve: 'websocket' },
  passes: 101,
  strike: (stage, attempt, how) => webSocket(stage, 'forward', upgrading(absolute), [attempt, how]),
  hold: (stage) => waiting(stage, 'forward', upgrading(absolute)),
});

export const LISTENER_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...FORWARD_WEBSOCKET,
  name: 'listener, WebSocket',
  door: 'listener',
  setting: { site: { listen: true }, serve: 'websocket' },
  strike: (stage, attempt, how) => webSocket(stage, stage.name, upgrading(origin), [attempt, how]),
  hold: (stage) => waiting(stage, stage.name, upgrading(origin)),
});
