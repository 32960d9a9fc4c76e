/** An agent as raw bytes: connections to a listener, what it is answered, and how it reads that. */
import { type Socket, connect } from 'node:net';
import { until } from './until.ts';

/** An agent of a proxy or sidecar: all that it has is the address of its proxy. */
export interface TestAgent {
  /** `port` of the forward proxy or of a destination's listener. */
  port(name?: string): number;
  open(name?: string): Promise<TestConnection>;
  /** One exchange on a connection of its own. */
  ask(request: string, name?: string): Promise<string>;
  /** GET through the forward port. */
  get(url: string): Promise<string>;
}

export function testAgent(port: (name: string) => number): TestAgent {
  const open = (name = 'forward'): Promise<TestConnection> => testConnection(port(name));
  const ask = async (request: string, name?: string): Promise<string> => {
    const line = await open(name);
    line.socket.on('data', () => keepsOpen(line.text) && line.socket.end());
    line.write(request);
    return line.ended();
  };
  return {
    port: (name = 'forward') => port(name),
    open,
    ask,
    get: (url) =>
      ask(`GET ${url} HTTP/1.1\r\nHost: ${url.split('/')[2]}\r\nConnection: close\r\n\r\n`),
  };
}

/** A raw connection. */
export interface TestConnection {
  readonly socket: Socket;
  /** What was received so far, as latin1. */
  readonly text: string;
  /** Whether it ended by a reset instead of an end. */
  readonly reset: boolean;
  write(data: string | Buffer): void;
  /** Waits for what was received to satisfy. */
  sees(what: string | RegExp, within?: number): Promise<string>;
  /** All that was received, once the other side has ended or cut the connection. */
  ended(): Promise<string>;
}

export async function testConnection(port: number): Promise<TestConnection> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  const line = testConnectionOver(socket);
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return line;
}

/** The same over a socket that is there already. */
export function testConnectionOver(socket: Socket): TestConnection {
  const chunks: Buffer[] = [];
  let reset = false;
  let over = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => (reset = true));
  socket.on('end', () => ((over = true), socket.end()));
  socket.on('close', () => (over = true));
  const text = (): string => Buffer.concat(chunks).toString('latin1');
  return {
    socket,
    get text() {
      return text();
    },
    get reset() {
      return reset;
    },
    write: (data) => void socket.write(data),
    sees: (what, within) =>
      until(
        `${String(what)} in ${JSON.stringify(text())}`,
        () =>
          (typeof what === 'string' ? text().includes(what) : what.test(text()))
            ? text()
            : over
              ? Promise.reject(new Error(`ended: ${text()}`))
              : undefined,
        within,
      ),
    ended: () =>
      until('the connection is over', () => (over ? text() || ' ' : undefined), 10_000).then(
        (all) => all.trim(),
      ),
  };
}

/**
 * Whether a refusal has come whole behind which the connection is kept: whoever wants no more ends
 * it.
 */
export function keepsOpen(text: string): boolean {
  const at = text.search(/HTTP\/1\.1 [45]\d\d /);
  const head = at < 0 ? undefined : /^[^]*?\r\n\r\n/.exec(text.slice(at))?.[0];
  if (head === undefined || /\r\nconnection: close\r\n/i.test(head)) return false;
  return (
    text.length >= at + head.length + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  );
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);
}

export interface ReadRefusal {
  readonly code: string;
  readonly message: string;
  readonly rule?: string | undefined;
  readonly decision: string;
  /** Of JSON-RPC. */
  readonly data?: { readonly reason: string; readonly decision: string };
}

/** A refusal as its reader has it: JSON, JSON-RPC, or the one line of text. */
export function refusal(answer: string): ReadRefusal {
  return refusalIn(answer.slice(answer.indexOf('\r\n\r\n') + 4));
}

export function refusalIn(body: string): ReadRefusal {
  const [, message, code, rule, decision] =
    /^(.*) \[chaperone: ([a-z-]+)(?:, rule (.+))?, decision ([\w-]+)\]\n?$/.exec(body) ?? [];
  if (message !== undefined) return { code: code ?? '', message, rule, decision: decision ?? '' };
  const read = JSON.parse(body) as { error: string | ReadRefusal };
  if (typeof read.error === 'object') return read.error;
  return { ...(read as unknown as ReadRefusal), code: read.error };
}
