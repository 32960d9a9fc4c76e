/**
 * Two more ways in through a CONNECT that is intercepted: WebSocket inside the TLS that ends here,
 * and the tunnel itself.
 */
import type { Socket } from 'node:net';
import { type TestConnection, testConnectionOver } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import { helloPieces } from '../hello.ts';
import { HOST, type Stage } from '../stage.ts';
import { type Entry, type Manner, type Seen, facets } from './entry.ts';
import { answered, statusesOf } from './http1.ts';
import { INTERCEPTED, PROBE, openTunnel, renderInside } from './intercepted.ts';
import { type Door, OF_WEBSOCKETS, upgrading, webSocket } from './requests.ts';
import { OF_CONNECT, isOver, tunnel } from './tunnels.ts';

/** The inside of a tunnel as a connection; the one under it where the CONNECT was refused. */
async function within(stage: Stage): Promise<TestConnection> {
  const { line, tls } = await openTunnel(stage, 'http/1.1');
  return tls === undefined ? line : testConnectionOver(tls);
}

const INSIDE: Door = { open: within, probe: PROBE };

export const INTERCEPTED_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...INTERCEPTED,
  name: 'intercepted, WebSocket',
  facets: facets(...OF_WEBSOCKETS, 'inside'),
  setting: { ...INTERCEPTED.setting, serve: 'websocket' },
  passes: 101,
  async strike(stage, attempt, how) {
    const render = upgrading((one) => renderInside(stage, one));
    const seen = await webSocket(stage, INSIDE, render, [attempt, how]);
    // TLS has no reset: a cut is an end without an answer.
    return { ...seen, cut: seen.cut || !(seen.statuses[0] === 101 || answered(seen.text)) };
  },
});

/** What comes through the tunnel is a ClientHello, which is answered or not. */
async function opened(stage: Stage, attempt: Attempt, { probing }: Manner): Promise<Seen> {
  const line = await tunnel(stage, attempt, probing);
  if (isOver(line)) return line;
  const from = line.text.length;
  const host = (attempt.authority ?? HOST).toLowerCase().replace(/\.?(:\d+)?$/, '');
  for (const piece of await helloPieces(attempt.hello ?? {}, host)) {
    line.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const heard = (): boolean => line.text.length > from;
  await until(
    'the ClientHello is answered or cut',
    () => heard() || line.reset || line.socket.destroyed,
    20_000,
  );
  const seen = { text: line.text.slice(0, from), statuses: statusesOf(line.text), cut: !heard() };
  line.socket.destroy();
  return seen;
}

async function hold(stage: Stage): Promise<Socket> {
  const line = await tunnel(stage, {}, false);
  if (isOver(line)) throw new Error(`an honest CONNECT was refused: ${line.text}`);
  return line.socket;
}

/** The tunnel resolves and dials nothing, so addresses and peers are not its own. */
export const CONNECT_INTERCEPTED: Entry = Object.freeze<Entry>({
  name: 'CONNECT, intercepted',
  door: 'connect',
  outcome: 'intercepted',
  facets: facets(...OF_CONNECT.filter((facet) => facet !== 'address'), 'hello'),
  setting: { destination: { intercept: true }, intercepts: true },
  passes: 200,
  requests: false,
  strike: opened,
  hold,
});
