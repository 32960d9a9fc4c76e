/** HTTP in the clear inside a CONNECT tunnel: the tunnel is honest, what is bent is inside. */
import type { Socket } from 'node:net';
import { type RawClient, rawClient } from '../../http2/raw.ts';
import { type TestConnection, testConnectionOver } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import { helloPieces } from '../hello.ts';
import { HOST, type Stage } from '../stage.ts';
import { type Entry, type Manner, type Seen, facets } from './entry.ts';
import { PROBE, type Rendered, answerOf, answered, gone, statusesOf } from './http1.ts';
import {
  type Door,
  FORWARD,
  FORWARD_WEBSOCKET,
  request,
  upgrading,
  waiting,
  webSocket,
} from './requests.ts';
import { OF_STREAMS, type Way, holdBy, strikeBy } from './streams.ts';
import { OF_CONNECT, isOver, tunnel } from './tunnels.ts';

/**
 * The inside of an honest tunnel as a connection of its own; the connection under it where the
 * CONNECT was refused.
 */
async function within(stage: Stage): Promise<TestConnection> {
  const line = await stage.proxy.open();
  const asked = `${stage.tunnelTo}:80`;
  line.write(`CONNECT ${asked} HTTP/1.1\r\nHost: ${asked}\r\n\r\n`);
  await until('CONNECT is answered', () => answered(line.text) || statusesOf(line.text)[0] === 200);
  if (statusesOf(line.text)[0] !== 200) return line;
  line.socket.removeAllListeners();
  return testConnectionOver(line.socket);
}

const INSIDE: Door = { open: within, probe: PROBE, inside: true };

const renderFor =
  ({ tunnelTo }: Stage) =>
  ({ method = 'GET', authority = tunnelTo, path = '/', ...more }: Attempt): Rendered => ({
    method,
    target: more.target ?? (more.absolute === true ? `http://${authority}${path}` : path),
    host: [authority],
  });

export const CLEARTEXT: Entry = Object.freeze<Entry>({
  ...FORWARD,
  name: 'CONNECT, cleartext',
  door: 'cleartext',
  inside: true,
  strike: (stage, attempt, how) => request(stage, INSIDE, renderFor(stage), [attempt, how]),
  hold: (stage) => waiting(stage, INSIDE, renderFor(stage)),
});

export const CLEARTEXT_WEBSOCKET: Entry = Object.freeze<Entry>({
  ...FORWARD_WEBSOCKET,
  name: 'CONNECT, cleartext WebSocket',
  door: 'cleartext',
  inside: true,
  strike: (stage, attempt, how) =>
    webSocket(stage, INSIDE, upgrading(renderFor(stage)), [attempt, how]),
  hold: (stage) => waiting(stage, INSIDE, upgrading(renderFor(stage))),
});

const CLEAR: Way = {
  scheme: 'http',
  async open(stage): Promise<RawClient | Seen> {
    const line = await within(stage);
    if (statusesOf(line.text).length > 0) return answerOf(line, 0);
    line.socket.removeAllListeners();
    return rawClient(line.socket);
  },
  authority: ({ tunnelTo }, { authority = tunnelTo }) => authority,
};

export const CLEARTEXT_STREAMS: Entry = Object.freeze<Entry>({
  ...CLEARTEXT,
  name: 'CONNECT, cleartext HTTP/2',
  facets: OF_STREAMS,
  streams: true,
  strike: strikeBy(CLEAR),
  hold: holdBy(CLEAR),
});

/** TLS comes through the tunnel, which gets its alert or not. */
async function opened(stage: Stage, attempt: Attempt, { probing }: Manner): Promise<Seen> {
  const line = await tunnel(stage, attempt, probing);
  if (isOver(line)) return line;
  const from = line.text.length;
  const host = (attempt.authority ?? HOST).toLowerCase().replace(/\.?(:\d+)?$/, '');
  for (const piece of await helloPieces({}, host)) line.write(piece);
  await gone(line);
  const heard = line.text.length > from;
  return {
    text: line.text.slice(0, from),
    statuses: statusesOf(line.text.slice(0, from)),
    cut: !heard,
  };
}

async function silent(stage: Stage): Promise<Socket> {
  const line = await tunnel(stage, {}, false);
  if (isOver(line)) throw new Error(`an honest CONNECT was refused: ${line.text}`);
  return line.socket;
}

/** The tunnel resolves and dials nothing, so addresses and peers are not its own. */
export const CONNECT_INSPECTED: Entry = Object.freeze<Entry>({
  name: 'CONNECT, inspected',
  door: 'connect',
  outcome: 'inspected',
  facets: facets(...OF_CONNECT.filter((facet) => facet !== 'address')),
  setting: { destination: {} },
  passes: 200,
  requests: false,
  strike: opened,
  hold: silent,
});
