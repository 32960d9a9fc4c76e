/** The evidence files of a configuration, and lines of files as they grow. */
import { readdir, stat } from 'node:fs/promises';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Fault } from '../lib/base/fault.ts';
import { type Config, loadConfig } from '../lib/config/load/load.ts';

/** What stands for the process in the path of a sink. */
const PID = '{pid}';

/**
 * Where the configuration writes evidence: of several sinks all, of one with `{pid}` the files of
 * all processes, the one that was written last at the end. @throws Fault `usage` where there is
 * none
 */
export async function auditFiles(
  { sidecar }: Config,
  command: string,
): Promise<readonly string[][]> {
  const sinks = sidecar.audit.sinks.flatMap((sink) => (sink.kind === 'file' ? [sink.value] : []));
  if (sinks.length === 0)
    throw new Fault('usage', 'the configuration writes no audit file', {
      hint: `name one: chaperone ${command}`,
    });
  return Promise.all(sinks.map(async (file) => (file.includes(PID) ? ofProcesses(file) : [file])));
}

/** The files of the first sink: every sink has every record. */
export async function evidenceOf(config: readonly string[]): Promise<readonly string[]> {
  const [first = []] = await auditFiles(
    await loadConfig(config, { generation: 1 }),
    'audit --file FILE',
  );
  return first;
}

async function ofProcesses(path: string): Promise<string[]> {
  const [before = '', after = ''] = basename(path).split(PID);
  const names = await readdir(dirname(path)).catch(() => []);
  const found = names
    .filter((name) => name.startsWith(before) && name.endsWith(after))
    .filter((name) => /^\d+$/.test(name.slice(before.length, name.length - after.length)))
    .map((name) => join(dirname(path), name));
  const times = new Map(
    await Promise.all(found.map(async (file) => [file, (await stat(file)).mtimeMs] as const)),
  );
  return found.sort((a, b) => (times.get(a) ?? 0) - (times.get(b) ?? 0));
}

const CHUNK = 65_536;
const LINE_END = 0x0a;

/** A file that is read on as it grows, and from its start again where it was replaced. */
export class GrowingFile implements AsyncDisposable {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * The whole lines that were added since it was called last. @throws Fault `config-unreadable` at
   * first
   */
  async *lines(): AsyncGenerator<string> {
    try {
      this.#handle ??= await open(this.#path, 'r');
      yield* this.#added(this.#handle);
      if (!(await this.#replaced(this.#handle))) return;
    } catch (failure) {
      const code =
        failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
      throw new Fault('config-unreadable', `${this.#path} cannot be read (${code})`, {
        hint: 'look at the path and its permissions',
        cause: failure,
      });
    }
    await this[Symbol.asyncDispose]();
    yield* this.lines();
  }

  async *#added(handle: FileHandle): AsyncGenerator<string> {
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK, this.#offset);
      if (bytesRead === 0) return;
      this.#offset += bytesRead;
      this.#rest = Buffer.concat([this.#rest, chunk.subarray(0, bytesRead)]);
      const end = this.#rest.lastIndexOf(LINE_END);
      if (end < 0) continue;
      const whole = this.#rest.toString('utf8', 0, end);
      this.#rest = this.#rest.subarray(end + 1);
      yield* whole.split('\n');
    }
  }

  /**
   * Whether another file is at the path by now, or this one was emptied. A path with nothing at it
   * is awaited.
   */
  async #replaced(handle: FileHandle): Promise<boolean> {
    const [now, there] = [await handle.stat(), await stat(this.#path).catch(() => undefined)];
    return (
      now.size < this.#offset ||
      (there !== undefined && (there.ino !== now.ino || there.dev !== now.dev))
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const handle = this.#handle;
    [this.#handle, this.#offset, this.#rest] = [undefined, 0, Buffer.alloc(0)];
    await handle?.close();
  }
}
