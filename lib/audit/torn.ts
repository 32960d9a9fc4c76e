/**
 * The end of a file whose writer was killed in the middle of a line. Nobody was told that such a line is written, so nothing was sent on the strength of it: at start it
 * is cut off, so that every line parses, and counted. What does not begin like a record is not ours and stays.
 */
import type { FileHandle } from 'node:fs/promises';

const LINE_END = 0x0a;
const BEGINS = '{"time":"';
/** Longer than any batch of records of one turn that was ever partly written; what has no line end in it is no log. */
const FARTHEST = 1_048_576;

/** Cuts the half line at the end of a file of `size` bytes; how many bytes were cut, 0 where there is none of ours or the file may not be cut. */
export async function cutHalfLine(handle: FileHandle, size: number): Promise<number> {
  const from = Math.max(0, size - FARTHEST);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
  const end = buffer.subarray(0, bytesRead);
  const lineEnd = end.lastIndexOf(LINE_END);
  const half = end.subarray(lineEnd + 1);
  if (half.length === 0 || (lineEnd < 0 && from > 0)) return 0;
  if (!BEGINS.startsWith(half.toString('latin1', 0, BEGINS.length))) return 0;
  try {
    await handle.truncate(size - half.length);
    return half.length;
  } catch {
    // Append-only: the next batch begins a new line.
    return 0;
  }
}
