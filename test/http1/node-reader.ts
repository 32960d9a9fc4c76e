/** node:http as a reader of single messages, in both roles, without sockets. */
import { NOT_IN_TRAILERS } from '../../lib/http/field-lines.ts';
import http from 'node:http';
import { duplexPair } from 'node:stream';

import type { Meant, Reading, Role, Seen } from './reading.ts';

const flat = (raw: readonly string[]): string[] =>
  raw.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));

export async function seenIn(start: string, message: http.IncomingMessage): Promise<Seen> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return {
    start,
    fields: flat(message.rawHeaders),
    body: Buffer.concat(pieces).toString('latin1'),
    trailers: flat(message.rawTrailers),
  };
}

/**
 * What node's server makes of these bytes: the requests it read whole, and whether it found fault.
 */
async function readRequests(text: string): Promise<Reading> {
  const seen: Seen[] = [];
  let refused = false;
  const use = (message: http.IncomingMessage, response: http.ServerResponse): void => {
    const start = `${message.method} ${message.url} ${message.httpVersionMinor}`;
    seenIn(start, message).then(
      (whole) => {
        seen.push(whole);
        response.end();
      },
      () => (refused = true),
    );
  };
  const server = http.createServer({ keepAliveTimeout: 0 }, use);
  server.on('checkContinue', use).on('checkExpectation', use);
  const [ours, theirs] = duplexPair();
  server.on('clientError', (_failure, socket) => {
    refused = true;
    socket.destroy();
  });
  for (const end of [ours, theirs]) end.on('error', () => {});
  server.emit('connection', theirs);
  ours.resume();
  ours.write(text, 'latin1');
  // All of it happens in this process, within a few turns.
  for (let turn = 0; turn < 20 && seen.length === 0 && !refused; turn++)
    await new Promise(setImmediate);
  for (const end of [ours, theirs]) end.destroy();
  server.close();
  return { seen, refused };
}

/** Trailers without those that we leave out of an answer; node hands them on. */
function placed(trailers: readonly string[]): readonly string[] {
  return trailers.filter((_, i) => !NOT_IN_TRAILERS.has(trailers[i - (i % 2)] ?? ''));
}

/** What node's client makes of these bytes as the answer to GET. */
async function readResponse(text: string): Promise<Reading> {
  const [ours, theirs] = duplexPair();
  ours.on('error', () => {});
  theirs.on('error', () => {});
  ours.resume();
  const agent = new http.Agent();
  agent.createConnection = () => theirs;
  try {
    const seen = await new Promise<Seen>((resolve, reject) => {
      const request = http.request({ path: '/', host: 'a', agent });
      request.on('error', reject);
      request.on('response', (message) => {
        seenIn(
          `${message.statusCode} ${message.statusMessage} ${message.httpVersionMinor}`,
          message,
        ).then(resolve, reject);
      });
      ours.once('data', () => ours.end(text, 'latin1'));
      request.end();
    });
    return { seen: [{ ...seen, trailers: placed(seen.trailers) }], refused: false };
  } catch {
    return { seen: [], refused: true };
  } finally {
    theirs.destroy();
    ours.destroy();
  }
}

export function nodeReads(role: Role, text: string): Promise<Reading> {
  return role === 'request' ? readRequests(text) : readResponse(text);
}

/** What node:http shows of a message when it reads it as it was meant. */
export function nodeShows({ start, fields, body, trailers }: Meant): Reading {
  return { seen: [{ start, fields, body, trailers }], refused: false };
}

/**
 * What only the proxy judges, and node's parser in its own way: methods it does not know, targets
 * of no known form.
 */
export function nodeJudgesElsewhere({ method, target }: Meant): boolean {
  return !http.METHODS.includes(method) || !/^(\/|\*|https?:\/\/[a-z.]+\/)/.test(target);
}
