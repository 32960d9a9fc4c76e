/**
 * The agent API over its Unix socket: JSON, one request a connection, and one connection that is
 * held for as long as a task lasts.
 */
import { request, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { apiError, Unreachable } from './errors.ts';

export interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly authorization?: string | undefined;
}

/** A connection that is held: what the sidecar said first, and what it says after. */
export interface Held {
  readonly first: unknown;
  /** Ends with the connection. */
  readonly events: AsyncIterable<unknown>;
  close(): void;
}

/** @throws Refused, Unreachable */
export async function ask(socket: string, asked: Asked): Promise<unknown> {
  return json(await whole(await send(socket, asked)));
}

/** The connection does not keep the process alive. @throws Refused, Unreachable */
export async function hold(socket: string, asked: Asked): Promise<Held> {
  const answer = await send(socket, asked);
  if (statusOf(answer) >= 400)
    throw apiError({ status: statusOf(answer), text: await whole(answer), headers: {} });
  const lines = linesOf(answer);
  const { value, done } = await lines.next();
  if (done === true) throw new Unreachable(`${socket} said nothing`);
  answer.socket.unref();
  return { first: json(value), events: values(lines), close: () => void answer.destroy() };
}

function send(
  socketPath: string,
  { method, path, body, authorization }: Asked,
): Promise<IncomingMessage> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    ...(text === undefined
      ? undefined
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    ...(authorization === undefined ? undefined : { authorization }),
  };
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method, path, headers, agent: false }, resolve);
    asking.on('error', (cause) => {
      const message =
        `${socketPath} does not answer: ${cause.message}; is the sidecar running, and may ` +
        'this user reach its agentApi socket?';
      reject(new Unreachable(message, { cause }));
    });
    asking.end(text);
  });
}

async function whole(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  if (statusOf(answer) >= 400) throw apiError({ status: statusOf(answer), text, headers: {} });
  return text;
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<string, undefined> {
  try {
    for await (const line of createInterface({ input: answer })) yield line;
  } catch {
    // Cut by either side: the task has ended, which is all there is to say.
  }
  return undefined;
}

async function* values(lines: AsyncIterable<string>): AsyncGenerator<unknown, undefined> {
  for await (const line of lines) yield json(line);
  return undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Unreachable('the answer is not JSON; is this the socket of a sidecar?', { cause });
  }
}

const statusOf = ({ statusCode = 0 }: IncomingMessage): number => statusCode;
