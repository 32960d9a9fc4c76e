/** Fields as they are sent: in the form of the engine, and as a frame that it does not send. */
import type { Fields } from '../http/message.ts';
import { END_HEADERS, END_STREAM, HEADERS, HEAD_BYTES } from './frames.ts';
import { literalBlock } from './hpack.ts';

export function trailersFrame(id: number, fields: Fields): Buffer {
  const block = literalBlock(fields);
  const frame = Buffer.alloc(HEAD_BYTES + block.length);
  frame.writeUIntBE(block.length, 0, 3);
  frame[3] = HEADERS;
  frame[4] = END_STREAM | END_HEADERS;
  frame.writeUInt32BE(id, 5);
  block.copy(frame, HEAD_BYTES);
  return frame;
}

export function grouped(raw: readonly string[]): Record<string, string[] | string> {
  const headers = Object.create(null) as Record<string, string[] | string>;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const before = headers[name];
    const value = raw[i + 1] ?? '';
    headers[name] =
      before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return headers;
}
