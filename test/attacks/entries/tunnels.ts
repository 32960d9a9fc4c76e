/**
 * Ways in that carry bytes: CONNECT with the agent's own TLS, CONNECT to a tcp destination, and the
 * raw listener of one.
 */
import type { Socket } from 'node:net';
import type { TestConnection } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import { helloPieces } from '../hello.ts';
import { HOST, type Stage } from '../stage.ts';
import { type Entry, type Manner, type Seen, facets } from './entry.ts';
import { CANARY, PROBE, type Rendered, answerOf, bytesOf, gone, statusesOf } from './http1.ts';

/**
 * The target of a CONNECT always has a port; the honest one is added where the attempt wrote none.
 */
function tunnelTo({ authority = HOST, target }: Attempt): Rendered {
  const asked = target ?? (/:[^\]]*$/.test(authority) ? authority : `${authority}:80`);
  return { method: 'CONNECT', target: asked, host: [asked] };
}

export async function tunnel(
  stage: Stage,
  attempt: Attempt,
  probing: boolean,
): Promise<TestConnection | Seen> {
  const line = await stage.proxy.open();
  line.write(bytesOf(tunnelTo(attempt), attempt));
  if (probing && attempt.hello === undefined) line.write(PROBE);
  await until(
    'CONNECT is answered',
    () => line.reset || line.socket.readableEnded || statusesOf(line.text)[0],
  );
  return statusesOf(line.text)[0] === 200 && !(probing && attempt.hello === undefined)
    ? line
    : answerOf(line, 0);
}

export const isOver = (reached: TestConnection | Seen): reached is Seen => 'statuses' in reached;

/** A tunnel through which nothing goes. */
async function silent(stage: Stage): Promise<Socket> {
  const line = await tunnel(stage, {}, false);
  if (isOver(line)) throw new Error(`an honest CONNECT was refused: ${line.text}`);
  return line.socket;
}

async function passthrough(stage: Stage, attempt: Attempt, { probing }: Manner): Promise<Seen> {
  const { connections } = stage.upstream;
  const before = connections.length;
  const line = await tunnel(stage, attempt, probing);
  if (isOver(line)) return line;
  const host = (attempt.authority ?? HOST).toLowerCase().replace(/\.?(:\d+)?$/, '');
  for (const piece of await helloPieces(attempt.hello ?? {}, host)) {
    line.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const reached = (): boolean => connections.slice(before).some(({ raw }) => raw.total > 0);
  await until(
    'the ClientHello is passed on or the tunnel is cut',
    () => reached() || line.reset || line.socket.destroyed,
    20_000,
  );
  const seen = { text: line.text, statuses: statusesOf(line.text), cut: line.reset || !reached() };
  line.socket.destroy();
  return seen;
}

/** Says something and waits for an answer or a cut. */
async function say(line: TestConnection): Promise<Seen> {
  line.write(`${CANARY}\r\n`);
  await until(
    'it is heard or cut',
    () => line.text.endsWith('heard') || line.reset || line.socket.destroyed,
    20_000,
  );
  const heard = line.text.endsWith('heard');
  line.socket.end();
  if (!heard) await gone(line);
  line.socket.destroy();
  return { text: line.text, statuses: statusesOf(line.text), cut: !heard };
}

export const OF_CONNECT = ['authority', 'target', 'fields', 'head', 'address'] as const;

export const CONNECT_PASSTHROUGH: Entry = Object.freeze<Entry>({
  name: 'CONNECT, passthrough',
  door: 'connect',
  outcome: 'tunnel',
  facets: facets(...OF_CONNECT, 'hello'),
  setting: { destination: { mode: 'passthrough' }, anyone: true },
  passes: 200,
  requests: false,
  strike: passthrough,
  hold: silent,
});

export const CONNECT_TCP: Entry = Object.freeze<Entry>({
  name: 'CONNECT, tcp',
  door: 'connect',
  outcome: 'wrapped',
  facets: facets(...OF_CONNECT, 'peer'),
  setting: { destination: { protocol: 'tcp' }, serve: 'bytes' },
  passes: 200,
  requests: false,
  async strike(stage, attempt, { probing }) {
    const line = await tunnel(stage, attempt, probing);
    return isOver(line) ? line : say(line);
  },
  hold: silent,
});

export const LISTENER_TCP: Entry = Object.freeze<Entry>({
  ...CONNECT_TCP,
  name: 'listener, tcp',
  door: 'listener',
  facets: facets('address', 'peer'),
  setting: { destination: { protocol: 'tcp', listen: true }, serve: 'bytes' },
  passes: 0,
  strike: async (stage) => say(await stage.proxy.open(stage.name)),
  async hold(stage) {
    const { connections } = stage.upstream;
    const before = connections.length;
    const { socket } = await stage.proxy.open(stage.name);
    await until('the upstream is reached', () => connections.length > before);
    return socket;
  },
});
