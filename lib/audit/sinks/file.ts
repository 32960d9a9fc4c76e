/**
 * Where lines of evidence go. A sink takes one batch at a time and settles when the operating
 * system has all of it; a batch that it could take only in part is taken back, so that a half line
 * is never joined by the next, and one that a killed process left is cut off at start. Files are
 * opened for appending with mode 0600 and followed through rotation: a path that was renamed or
 * removed is opened anew within a second, or at once by `reopen`. What is no regular file (a pipe,
 * a FIFO, a terminal) is opened so that a write never waits: no thread is held by a reader who does
 * not read, and neither is the end of the process. A regular file is written at once, which is a
 * copy into the page cache and cheaper than to wake a thread for it; once such a write was slow (a
 * disk that must first take what was written before), threads do it for a while, so that a slow
 * disk delays the event loop by one write in that while.
 */
import type { FileHandle } from 'node:fs/promises';
import { constants, open, stat } from 'node:fs/promises';
import { closeSync, openSync, write, writeSync } from 'node:fs';
import { type Clock, sleep } from '../../base/clock.ts';
import { Fault } from '../../base/fault.ts';
import { cutHalfLine, type HalfLine } from '../incomplete-record.ts';

export interface Sink extends AsyncDisposable {
  /** Bytes of a half line that were cut off when it was opened first. */
  readonly halfLine: number;
  /** Bytes of one that may not be cut off. */
  readonly halfLineLeft: number;
  /**
   * Appends whole lines; undefined when it has done so already. Throws or rejects with a Fault
   * `audit-unavailable`. Never called again before it settled.
   */
  append(lines: Buffer): Promise<void> | undefined;
  /** Opens the path anew, where there is one. */
  reopen(): Promise<void>;
}

/** How often a path is compared with the file that is open. */
const CHECK_EVERY_MS = 1000;
/** A write that took as long is slow, and that is how long threads write from then on. */
const SLOW_MS = 20;
const THREADS_FOR_MS = 5000;
const LINE_END = 0x0a;

function unavailable(name: string, error: unknown): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'make room: requests are allowed again as soon as records can be written'
      : 'check the path, its folder and who may write there';
  const reason = error instanceof Error ? error.message : String(error);
  return new Fault('audit-unavailable', `cannot write evidence to ${name}: ${reason}`, {
    hint,
    cause: error,
  });
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly regular: boolean;
  readonly device: number;
  readonly inode: number;
  /** When it was opened. */
  readonly size: number;
  /** The file does not end with a line end: somebody was stopped in the middle of a line. */
  torn: boolean;
}

/**
 * Opens the file at once, so that a path that cannot be written is found at start. Throws a Fault
 * `audit-unavailable`.
 */
export async function fileSink(path: string, clock: Clock): Promise<Sink> {
  const { first, half } = await openFirst(path);
  let file: OpenFile | undefined = first;
  const closed = new AbortController();
  let checked = clock.monotonic();
  let threadsUntil = -Infinity;
  const close = async (): Promise<void> => {
    const old = file;
    file = undefined;
    await old?.handle.close();
  };
  const current = async (): Promise<OpenFile> => {
    const now = clock.monotonic();
    if (file !== undefined && now - checked >= CHECK_EVERY_MS) {
      checked = now;
      if (!(await stillAt(path, file))) await close();
    }
    return (file ??= await openFile(path));
  };
  /** How many bytes could be written at once. */
  const writeNow = (lines: Buffer): number => {
    const now = clock.monotonic();
    if (
      file?.regular !== true ||
      file.torn ||
      now - checked >= CHECK_EVERY_MS ||
      now < threadsUntil
    )
      return 0;
    const count = writeSync(file.handle.fd, lines);
    const after = clock.monotonic();
    if (after - now >= SLOW_MS) threadsUntil = after + THREADS_FOR_MS;
    return count;
  };
  const appendRest = async (lines: Buffer, written: number): Promise<void> => {
    try {
      const now = written > 0 && file !== undefined ? file : await current();
      await appendWhole(now, lines, { begun: written, write: writerTo(now, clock, closed.signal) });
    } catch (error) {
      throw unavailable(path, error);
    }
  };
  return {
    halfLine: half.cut,
    halfLineLeft: half.left,
    append(lines) {
      try {
        const written = writeNow(lines);
        return written === lines.length ? undefined : appendRest(lines, written);
      } catch (error) {
        throw unavailable(path, error);
      }
    },
    async reopen() {
      try {
        await close();
        file = await openFile(path);
      } catch (error) {
        throw unavailable(path, error);
      }
    },
    [Symbol.asyncDispose]() {
      closed.abort(CLOSED);
      return close();
    },
  };
}

/** Opens the file and cuts off the half line at its end. */
async function openFirst(
  path: string,
): Promise<{ readonly first: OpenFile; readonly half: HalfLine }> {
  const first = await openFile(path).catch((error: unknown) => {
    throw unavailable(path, error);
  });
  if (!first.torn) return { first, half: WHOLE };
  const half = await cutHalfLine(first.handle, first.size).catch(() => WHOLE);
  const size = first.size - half.cut;
  if (half.cut > 0) first.torn = size > 0 && (await lastByte(first.handle, size)) !== LINE_END;
  return { first, half };
}

const WHOLE: HalfLine = { cut: 0, left: 0 };
const CLOSED = new Fault('audit-unavailable', 'the evidence log is closed');

async function openFile(path: string): Promise<OpenFile> {
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
      torn: size > 0 && (await lastByte(handle, size)) !== LINE_END,
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function lastByte(handle: FileHandle, size: number): Promise<number | undefined> {
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0];
}

async function stillAt(path: string, { device, inode }: OpenFile): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.dev === device && found.ino === inode;
  } catch {
    return false;
  }
}

/** Writes all of it, so much of which is written, or takes back what was written. */
async function appendWhole(
  file: OpenFile,
  lines: Buffer,
  { begun, write: some }: Appending,
): Promise<void> {
  const bytes = file.torn ? Buffer.concat([Buffer.from([LINE_END]), lines]) : lines;
  let written = begun;
  try {
    while (written < bytes.length) written += await some(bytes, written);
    file.torn = false;
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
  file.torn = true;
  try {
    const { size } = await file.handle.stat();
    const end = Buffer.alloc(written.length);
    const { bytesRead } = await file.handle.read(end, 0, end.length, size - end.length);
    if (bytesRead !== end.length || !end.equals(written)) return;
    await file.handle.truncate(size - written.length);
    file.torn =
      size > written.length && (await lastByte(file.handle, size - written.length)) !== LINE_END;
  } catch {
    // An append-only file cannot be cut; `torn` says what is to be done about it.
  }
}

/** Writes from an offset on, what there is room for; how many bytes that were. */
type Writer = (bytes: Buffer, from: number) => Promise<number>;

interface Appending {
  /** Bytes that are written already. */
  readonly begun: number;
  readonly write: Writer;
}

function writerTo(
  { handle: { fd }, regular }: OpenFile,
  clock: Clock,
  closed: AbortSignal,
): Writer {
  return regular ? byThread(fd) : withoutWaiting(fd, clock, closed);
}

function byThread(descriptor: number): Writer {
  return (bytes, from) =>
    new Promise((resolve, reject) => {
      write(descriptor, bytes, from, bytes.length - from, null, (error, count) => {
        if (error !== null) reject(error);
        else resolve(count);
      });
    });
}

/**
 * For a descriptor whose writes never wait: while it takes nothing, it is tried again, ever less
 * often.
 */
function withoutWaiting(descriptor: number, clock: Clock, closed: AbortSignal): Writer {
  return async (bytes, from) => {
    for (let pause = RETRY_MS; ; pause = Math.min(2 * pause, MAX_RETRY_MS)) {
      try {
        return writeSync(descriptor, bytes, from);
      } catch (error) {
        if (!isFull(error)) throw error;
        await sleep(clock, pause, closed);
      }
    }
  };
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}

const STDOUT = 1;
const RETRY_MS = 2;
const MAX_RETRY_MS = 50;

/**
 * Standard output. What it is gets opened once more, since the one that we were given may be shared
 * with programs that bear no write that does not wait; a socket cannot be, and is taken as it is.
 */
export function stdoutSink(clock: Clock): Sink {
  const closed = new AbortController();
  const own = reopened();
  // The engine sets what its stream stands on to write without waiting.
  const some = withoutWaiting(own ?? (process.stdout.writable ? STDOUT : -1), clock, closed.signal);
  let torn = false;
  return {
    halfLine: 0,
    halfLineLeft: 0,
    async append(lines) {
      const bytes = torn ? Buffer.concat([Buffer.from([LINE_END]), lines]) : lines;
      for (let written = 0; written < bytes.length;) {
        try {
          written += await some(bytes, written);
        } catch (error) {
          torn ||= written > 0;
          throw unavailable('standard output', error);
        }
      }
      torn = false;
    },
    reopen: () => Promise.resolve(),
    [Symbol.asyncDispose]() {
      closed.abort(CLOSED);
      if (own !== undefined) closeSync(own);
      return Promise.resolve();
    },
  };
}

function reopened(): number | undefined {
  try {
    return openSync(
      `/proc/self/fd/${STDOUT}`,
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK,
    );
  } catch {
    return undefined;
  }
}
