/**
 * HTTP/2 by hand: frames written byte for byte, so that what no library would send can be sent, and
 * frames read as they come.
 */
import { connect, type Socket } from 'node:net';
import { until } from '../support/until.ts';
import { wordsOf } from './hpack.ts';

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer | string = '',
): Buffer {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload, 'latin1');
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

function integer(value: number, prefix: number, bits: number): Buffer {
  const most = 2 ** prefix - 1;
  if (value < most) return Buffer.from([bits | value]);
  const bytes = [bits | most];
  for (let left = value - most; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 128);
  }
}

/** A header block of literals that nothing indexes (RFC 7541 section 6.2.2). */
export function block(...fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => {
      const [n, v] = [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
      return [Buffer.from([0]), integer(n.length, 7, 0), n, integer(v.length, 7, 0), v];
    }),
  );
}

export type Field = readonly [string, string];

/** The pseudo-headers of a request, and more fields. */
export function ask(method: string, path: string, ...more: readonly Field[]): readonly Field[] {
  return [
    [':method', method],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'crm.internal'],
    ...more,
  ];
}

export interface RawClient {
  readonly socket: Socket;
  readonly frames: readonly Frame[];
  /** The connection was ended or cut by the other side. */
  readonly over: boolean;
  send(...parts: readonly (Buffer | string)[]): void;
  /** A request that ends with its head. */
  get(stream: number, path: string, ...more: readonly Field[]): void;
  /** Waits for a frame. */
  sees(type: number, stream: number): Promise<Frame>;
  /** Status of the answer on a stream. */
  status(stream: number): Promise<number>;
  /** Error code of the RST_STREAM on a stream. */
  resetOf(stream: number): Promise<number>;
  /** Error code of the GOAWAY. */
  goaway(): Promise<number>;
  ended(): Promise<void>;
  /** Content received on a stream. */
  content(stream: number): string;
}

/**
 * SETTINGS_HEADER_TABLE_SIZE 0: the server's encoder remembers nothing, so that each block can be
 * read by itself.
 */
const NO_TABLE = Buffer.from([0, 1, 0, 0, 0, 0]);

/**
 * A connection, new or given, past preface and SETTINGS; SETTINGS and PING of the server are
 * acknowledged.
 */
export async function rawClient(
  to: number | Socket,
  settings: Buffer = NO_TABLE,
): Promise<RawClient> {
  const socket =
    typeof to === 'number' ? connect({ host: '127.0.0.1', port: to, noDelay: true }) : to;
  const frames: Frame[] = [];
  let rest = Buffer.alloc(0);
  let over = false;
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3);
      const one = {
        type: rest[3] ?? 0,
        flags: rest[4] ?? 0,
        stream: rest.readUInt32BE(5) & 0x7fffffff,
        payload: rest.subarray(9, 9 + length),
      };
      rest = rest.subarray(9 + length);
      frames.push(one);
      if (one.type === SETTINGS && (one.flags & ACK) === 0) socket.write(frame(SETTINGS, ACK, 0));
      if (one.type === PING && (one.flags & ACK) === 0)
        socket.write(frame(PING, ACK, 0, one.payload));
    }
  });
  socket.on('error', () => (over = true));
  socket.on('close', () => (over = true));
  socket.write(Buffer.concat([Buffer.from(PREFACE), frame(SETTINGS, 0, 0, settings)]));
  const shown = (): string =>
    JSON.stringify(frames.map(({ type, flags, stream }) => [type, flags, stream]));
  const find = (what: string, pick: (one: Frame) => boolean): Promise<Frame> =>
    until(
      what,
      () =>
        frames.find(pick) ??
        (over ? Promise.reject(new Error(`${what}: closed after ${shown()}`)) : undefined),
      10_000,
    );
  const client: RawClient = {
    socket,
    frames,
    get over() {
      return over;
    },
    send: (...parts) =>
      void socket.write(
        Buffer.concat(
          parts.map((one) => (Buffer.isBuffer(one) ? one : Buffer.from(one, 'latin1'))),
        ),
      ),
    get: (stream, path, ...more) =>
      client.send(
        frame(HEADERS, END_HEADERS | END_STREAM, stream, block(...ask('GET', path, ...more))),
      ),
    sees: (type, stream) =>
      find(`frame ${type} on ${stream}`, (one) => one.type === type && one.stream === stream),
    status: async (stream) => {
      const { payload } = await client.sees(HEADERS, stream);
      return statusIn(payload);
    },
    resetOf: async (stream) => (await client.sees(RST_STREAM, stream)).payload.readUInt32BE(0),
    goaway: async () => (await client.sees(GOAWAY, 0)).payload.readUInt32BE(4),
    ended: async () =>
      void (await until('the connection is over', () => over || undefined, 10_000)),
    content: (stream) =>
      Buffer.concat(
        frames
          .filter((one) => one.type === DATA && one.stream === stream)
          .map(({ payload }) => payload),
      ).toString('latin1'),
  };
  await client.sees(SETTINGS, 0);
  return client;
}

/**
 * `:status` comes first in a block: indexed (8 to 14 of the static table), or a literal under index
 * 8.
 */
export function statusIn(payload: Buffer): number {
  const first = payload[0] ?? 0;
  // A dynamic table size update may stand before it.
  if (first >= 0x20 && first < 0x40) return statusIn(payload.subarray(1));
  if (first >= 0x88 && first <= 0x8e) return [200, 204, 206, 304, 400, 404, 500][first - 0x88] ?? 0;
  const coded = ((payload[1] ?? 0) & 0x80) !== 0;
  const text = payload.subarray(2, 2 + ((payload[1] ?? 0) & 0x7f));
  return Number(coded ? wordsOf(text) : text.toString('latin1'));
}
