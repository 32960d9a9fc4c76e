/**
 * A file of evidence, opened for appending with mode 0600. Rules:
 * - rotation is followed: a path that was renamed or removed is opened anew within a second, or at
 *   once by `reopen`;
 * - an incomplete record that a killed process left is cut off at start;
 * - what is no regular file (a pipe, a FIFO, a terminal) is opened so that a write never waits: no
 *   thread is held by a reader who does not read, and neither is the end of the process;
 * - a regular file is written at once, which is a copy into the page cache and cheaper than to wake
 *   a thread for it. Once such a write was slow (a disk that must first take what was written
 *   before), threads do it for a while, so that a slow disk delays the event loop by one write in
 *   that while.
 */
import { writeSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { filePath } from '../../schema/file-path.ts';
import { type Truncation, truncateIncomplete } from '../incomplete-record.ts';
import { appendWhole, endsIncomplete, isStillAt, type OpenFile, openFile } from './open-file.ts';
import { CLOSED, type Sink, type SinkKind, unavailable } from './sink.ts';
import { nonBlockingWriter, threadWriter, type Writer } from './writer.ts';

/** `{pid}` in a path is the process: two that follow each other write a file each. */
export const fileKind: SinkKind<string> = Object.freeze({
  schema: filePath,
  doc:
    'JSON Lines are appended to this file; relative to the folder of the document. ' +
    'SIGHUP opens it again. `{pid}` in it is the process: two that follow each other ' +
    'write a file each.',
  example: '{ file: path }',
  absolute: (path: string, absolute: (path: string) => string) => absolute(path),
  open: (path: string, clock: Clock) =>
    openSink(path.replaceAll('{pid}', String(process.pid)), clock),
});

/** How often a path is compared with the file that is open. */
const CHECK_EVERY_MS = 1000;
/** A write that took as long is slow, and that is how long threads write from then on. */
const SLOW_MS = 20;
const THREADS_FOR_MS = 5000;

const COMPLETE: Truncation = { cut: 0, left: 0 };

/** Opens the file at once, so that a path that cannot be written is found at start. */
async function openSink(path: string, clock: Clock): Promise<Sink> {
  const file = await openFile(path).catch((error: unknown) => {
    throw unavailable(path, error);
  });
  if (!file.incomplete) return new FileSink(path, { clock, file, truncation: COMPLETE });
  const truncation = await truncateIncomplete(file.handle, file.size).catch(() => COMPLETE);
  if (truncation.cut > 0)
    file.incomplete = await endsIncomplete(file.handle, file.size - truncation.cut);
  return new FileSink(path, { clock, file, truncation });
}

interface FileParts {
  readonly clock: Clock;
  readonly file: OpenFile;
  readonly truncation: Truncation;
}

class FileSink implements Sink {
  readonly truncatedBytes: number;
  readonly incompleteBytes: number;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  #file: OpenFile | undefined;
  #checked: number;
  #threadsUntil = -Infinity;

  constructor(path: string, { clock, file, truncation }: FileParts) {
    this.#path = path;
    this.#clock = clock;
    this.#file = file;
    this.#checked = clock.monotonic();
    this.truncatedBytes = truncation.cut;
    this.incompleteBytes = truncation.left;
  }

  append(lines: Buffer): Promise<void> | undefined {
    try {
      const written = this.#writeNow(lines);
      return written === lines.length ? undefined : this.#appendRest(lines, written);
    } catch (error) {
      throw unavailable(this.#path, error);
    }
  }

  async reopen(): Promise<void> {
    try {
      await this.#close();
      this.#file = await openFile(this.#path);
    } catch (error) {
      throw unavailable(this.#path, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(CLOSED);
    return this.#close();
  }

  /** How many bytes could be written at once. */
  #writeNow(lines: Buffer): number {
    const now = this.#clock.monotonic();
    const file = this.#file;
    if (file?.regular !== true || file.incomplete) return 0;
    if (now - this.#checked >= CHECK_EVERY_MS || now < this.#threadsUntil) return 0;
    const count = writeSync(file.handle.fd, lines);
    const after = this.#clock.monotonic();
    if (after - now >= SLOW_MS) this.#threadsUntil = after + THREADS_FOR_MS;
    return count;
  }

  async #appendRest(lines: Buffer, written: number): Promise<void> {
    try {
      const file = written > 0 && this.#file !== undefined ? this.#file : await this.#current();
      await appendWhole(file, lines, { begun: written, write: this.#writerTo(file) });
    } catch (error) {
      throw unavailable(this.#path, error);
    }
  }

  async #current(): Promise<OpenFile> {
    const now = this.#clock.monotonic();
    if (this.#file !== undefined && now - this.#checked >= CHECK_EVERY_MS) {
      this.#checked = now;
      if (!(await isStillAt(this.#path, this.#file))) await this.#close();
    }
    return (this.#file ??= await openFile(this.#path));
  }

  #writerTo({ handle: { fd }, regular }: OpenFile): Writer {
    return regular ? threadWriter(fd) : nonBlockingWriter(fd, this.#clock, this.#closed.signal);
  }

  async #close(): Promise<void> {
    const old = this.#file;
    this.#file = undefined;
    await old?.handle.close();
  }
}
