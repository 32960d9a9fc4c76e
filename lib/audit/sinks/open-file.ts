/**
 * An evidence file that is open for appending. A batch that it could take only in part is taken
 * back, so that an incomplete record is never joined by the next.
 */
import { constants, type FileHandle, open, stat } from 'node:fs/promises';
import { LINE_END } from './sink.ts';
import type { Writer } from './writer.ts';

export interface OpenFile {
  readonly handle: FileHandle;
  readonly regular: boolean;
  readonly device: number;
  readonly inode: number;
  /** When it was opened. */
  readonly size: number;
  /** The file does not end with a line end: somebody was stopped in the middle of a line. */
  incomplete: boolean;
}

export async function openFile(path: string): Promise<OpenFile> {
  const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
  try {
    const found = await handle.stat();
    const { dev: device, ino: inode, size } = found;
    return {
      handle,
      regular: found.isFile(),
      device,
      inode,
      size,
      incomplete: await endsIncomplete(handle, size),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Whether the first `size` bytes end in the middle of a line. */
export async function endsIncomplete(handle: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return false;
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] !== LINE_END;
}

/** Whether the path still leads to the file. */
export async function isStillAt(path: string, { device, inode }: OpenFile): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.dev === device && found.ino === inode;
  } catch {
    return false;
  }
}

interface Appending {
  /** Bytes that are written already. */
  readonly begun: number;
  readonly write: Writer;
}

/** Writes the rest of the lines, or takes back what was written of them. */
export async function appendWhole(
  file: OpenFile,
  lines: Buffer,
  { begun, write }: Appending,
): Promise<void> {
  const bytes = file.incomplete ? Buffer.concat([Buffer.from([LINE_END]), lines]) : lines;
  let written = begun;
  try {
    while (written < bytes.length) written += await write(bytes, written);
    file.incomplete = false;
  } catch (error) {
    if (written > 0) await takeBack(file, bytes.subarray(0, written));
    throw error;
  }
}

/**
 * The end of the file, when it is what we wrote, is cut off again; where that is not allowed or not
 * possible, the next batch begins a new line.
 */
async function takeBack(file: OpenFile, written: Buffer): Promise<void> {
  file.incomplete = true;
  try {
    const { size } = await file.handle.stat();
    const end = Buffer.alloc(written.length);
    const { bytesRead } = await file.handle.read(end, 0, end.length, size - end.length);
    if (bytesRead !== end.length || !end.equals(written)) return;
    await file.handle.truncate(size - written.length);
    file.incomplete = await endsIncomplete(file.handle, size - written.length);
  } catch {
    // An append-only file cannot be cut; `incomplete` says what is to be done about it.
  }
}
