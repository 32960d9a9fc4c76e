/**
 * The task APIs as commands use them: JSON over a Unix socket, one request a connection. An answer
 * that is an error becomes the Fault it tells of.
 */
import { request, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { CODES, Fault, type Code } from '../lib/base/fault.ts';

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly authorization?: string | undefined;
}

export interface ApiClient {
  /** The JSON of the answer. */
  ask(asked: Asked): Promise<unknown>;
  /** The words of a page; a Fault `usage` of those that refuse. */
  words(asked: Asked): Promise<string>;
  /** JSON Lines until the other side ends, or `stop` is called. */
  lines(asked: Asked): Promise<Lines>;
}

interface Lines extends AsyncIterable<unknown>, Disposable {}

/** @param socket absolute path */
export function apiClient(socket: string): ApiClient {
  const send = (asked: Asked): Promise<IncomingMessage> => open(socket, asked);
  return {
    async ask(asked) {
      const answer = await send(asked);
      return outcome(answer.statusCode ?? 0, await textFrom(answer));
    },
    async words(asked) {
      const answer = await send(asked);
      const text = (await textFrom(answer)).trimEnd();
      if ((answer.statusCode ?? 0) >= 400) throw new Fault('usage', text);
      return text;
    },
    async lines(asked) {
      const answer = await send(asked);
      if ((answer.statusCode ?? 0) >= 400) outcome(answer.statusCode ?? 0, await textFrom(answer));
      return {
        async *[Symbol.asyncIterator]() {
          try {
            for await (const line of createInterface({ input: answer })) yield parse(line);
          } catch (failure) {
            if (!answer.destroyed) throw failure;
          }
        },
        [Symbol.dispose]: () => void answer.destroy(),
      };
    },
  };
}

async function textFrom(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer.setEncoding('utf8')) text += String(chunk);
  return text;
}

function open(
  socketPath: string,
  { method, path, body, authorization }: Asked,
): Promise<IncomingMessage> {
  const text =
    body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  const headers = {
    ...(text === undefined
      ? undefined
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    ...(authorization === undefined ? undefined : { authorization }),
  };
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, method, path, headers, agent: false }, resolve);
    asking.on('error', (cause) =>
      reject(
        new Fault('api-unreachable', `${socketPath} does not answer: ${cause.message}`, {
          cause,
          hint: 'is the sidecar running, and may this user reach the socket?',
        }),
      ),
    );
    asking.end(text);
  });
}

function outcome(status: number, text: string): unknown {
  const value = parse(text);
  if (status < 400) return value;
  const [code, message] = [field(value, 'error'), field(value, 'message')];
  const reason = typeof message === 'string' ? message : 'the sidecar refused it';
  throw new Fault(typeof code === 'string' && isCode(code) ? code : 'internal', reason);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Fault('api-unreachable', 'the answer is not JSON', {
      cause,
      hint: 'is this the socket of a sidecar?',
    });
  }
}

/** A member of what may be an object. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value
    ? Reflect.get(value, name)
    : undefined;
}

/** A text member; a Fault when it is not there. */
export function textOf(value: unknown, name: string): string {
  const found = field(value, name);
  if (typeof found === 'string') return found;
  throw new Fault('api-unreachable', `the answer has no ${name}`, {
    hint: 'is the sidecar of another version?',
  });
}

/** A text member, or ''. */
export function wordsOf(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found : '';
}

function isCode(text: string): text is Code {
  return Object.hasOwn(CODES, text);
}
