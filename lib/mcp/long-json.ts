/**
 * Long messages, read, written and digested in slices, each in a turn of its own: a message of
 * megabytes keeps nobody waiting for longer than one of kilobytes.
 */
import { createHash } from 'node:crypto';
import type { Turns } from '../base/turns.ts';
import { JsonReader, textOf } from '../schema/json-reader.ts';
import { JsonWriter } from '../schema/json-writer.ts';
import type { Json, ReadOptions } from '../schema/json.ts';

/** Bytes of a message that is handled in one go. */
export const LONG = 65_536;
/** Characters of a slice of a longer one. */
const SLICE = 16_384;

/** Throws as `parseJson` does. */
export async function parseLong(
  bytes: Uint8Array,
  turns: Turns,
  options: ReadOptions = {},
): Promise<Json> {
  const reader = new JsonReader(textOf(bytes), options);
  for (;;) {
    await turns.room();
    const value = turns.counted(() => reader.read(SLICE));
    if (value !== undefined) return value;
  }
}

export async function writeLong(value: Json, turns: Turns): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of slices(new JsonWriter(value, 'as it is'), turns))
    pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** Hex SHA-256 of the canonical JSON. */
export async function digestLong(value: Json, turns: Turns): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of slices(new JsonWriter(value, 'canonical'), turns)) hash.update(piece);
  return hash.digest('hex');
}

async function* slices(writer: JsonWriter, turns: Turns): AsyncGenerator<string, void> {
  for (;;) {
    await turns.room();
    const piece = turns.counted(() => writer.write(SLICE));
    if (piece === '') return;
    yield piece;
  }
}
