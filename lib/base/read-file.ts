/**
 * Files that somebody named, read so that no name can hold a thread or fill the memory: opening a
 * pipe that nobody writes, or reading a device that never ends, would take one of the few threads
 * of the process with it, and with them evidence, reloads and the end of the process.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { sleep, systemClock } from './clock.ts';
import { Fault } from './fault.ts';

export interface ReadOptions {
  /** Bytes; a longer file is refused. */
  readonly most: number;
  /** Takes a pipe as well (`-c <(program)`): what comes within `PIPE_MS`. */
  readonly pipes?: boolean;
}

/** Milliseconds for whoever writes into a pipe. */
const PIPE_MS = 10_000;
const AGAIN_MS = 10;
const NEVER = new AbortController().signal;

/**
 * The whole content. Throws the system's error, or a Fault `config-unreadable` whose message is
 * the end of a sentence about the file.
 */
export async function readBounded(
  path: string,
  { most, pipes = false }: ReadOptions,
): Promise<Buffer> {
  await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = await handle.stat();
  if (found.isDirectory()) throw refused('it is a folder');
  if (!found.isFile() && !(pipes && found.isFIFO())) throw refused('it is no regular file');
  if (found.size > most) throw refused(`it is larger than ${most} bytes`, 'make it smaller');
  const parts: Buffer[] = [];
  let left = most;
  const until = systemClock.monotonic() + PIPE_MS;
  for (;;) {
    const bytes = Buffer.alloc(Math.min(left + 1, 65_536));
    const read = await chunk(handle, bytes);
    if (read === 0) return Buffer.concat(parts);
    if (read === undefined && systemClock.monotonic() > until)
      throw refused('whoever writes to it is silent');
    if (read === undefined) await sleep(systemClock, AGAIN_MS, NEVER);
    left -= read ?? 0;
    if (left < 0) throw refused(`it is larger than ${most} bytes`, 'make it smaller');
    parts.push(bytes.subarray(0, read ?? 0));
  }
}

/** Bytes read; undefined when there are none now. */
async function chunk(handle: FileHandle, bytes: Buffer): Promise<number | undefined> {
  try {
    return (await handle.read(bytes, 0, bytes.length)).bytesRead;
  } catch (failure) {
    if (failure instanceof Error && 'code' in failure && failure.code === 'EAGAIN')
      return undefined;
    throw failure;
  }
}

function refused(why: string, hint = 'name a regular file'): Fault {
  return new Fault('config-unreadable', why, { hint });
}

/** Why a file was not read, to stand in brackets. */
export function whyUnread(failure: unknown): string {
  if (failure instanceof Fault) return failure.message;
  return failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
}
