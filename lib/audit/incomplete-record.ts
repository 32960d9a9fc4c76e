/**
 * The end of a file whose writer was killed in the middle of a line, or whose machine went down
 * before the disk had it (a run of NUL bytes). Nobody was told that such a line is written, so
 * nothing was sent on the strength of it: at start it is cut off, so that every line parses, and
 * counted. What does not begin like a record is not ours and stays.
 */
import type { FileHandle } from 'node:fs/promises';

const LINE_END = 0x0a;
const BEGINS = '{"time":"';
/**
 * Longer than any batch of records of one turn that was ever partly written; what has no line end
 * in it is no log.
 */
const FARTHEST = 1_048_576;

export interface Truncation {
  /** Bytes that were cut off. */
  readonly cut: number;
  /** Bytes of ours that may not be cut off, as the file is only to be appended to. */
  readonly left: number;
}

/** Cuts what is no line of ours at the end of a file of `size` bytes. */
export async function truncateIncomplete(handle: FileHandle, size: number): Promise<Truncation> {
  const whole = await sizeWithoutNuls(handle, size);
  const to = whole - (await incompleteAt(handle, whole));
  if (to === size) return { cut: 0, left: 0 };
  try {
    await handle.truncate(to);
    return { cut: size - to, left: 0 };
  } catch {
    // Append-only: the next batch begins a new line.
    return { cut: 0, left: size - to };
  }
}

/** Bytes after the last line end, when they begin like a record. */
async function incompleteAt(handle: FileHandle, size: number): Promise<number> {
  const from = Math.max(0, size - FARTHEST);
  const end = await bytesAt(handle, from, size);
  const lineEnd = end.lastIndexOf(LINE_END);
  const rest = end.subarray(lineEnd + 1);
  if (rest.length === 0 || (lineEnd < 0 && from > 0)) return 0;
  return BEGINS.startsWith(rest.toString('latin1', 0, BEGINS.length)) ? rest.length : 0;
}

/** Where the NUL bytes at the end begin; JSON has none. */
async function sizeWithoutNuls(handle: FileHandle, size: number): Promise<number> {
  for (let to = size; to > 0;) {
    const from = Math.max(0, to - FARTHEST);
    const end = await bytesAt(handle, from, to);
    const last = end.findLastIndex((byte) => byte !== 0);
    if (last >= 0) return from + last + 1;
    to = from;
  }
  return 0;
}

async function bytesAt(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(to - from), 0, to - from, from);
  return buffer.subarray(0, bytesRead);
}
