/**
 * Tells when the files of a configuration have changed. What counts is a fingerprint of each
 * (device, inode, size, times, and where links lead: a mounted ConfigMap changes by a swap of its
 * `..data` link); file system events only say when to look, and where they do not come, a look
 * every few seconds does. A change is told when the fingerprints have stood still for a moment, so
 * that a file that is being written is not read by half.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { sleep, type Clock } from '../../base/clock.ts';
import { ignore, onAbort } from '../../base/signal.ts';
import { fingerprintOf } from './fingerprint.ts';

export interface WatchOptions {
  /** Ends the watch. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Called once for each settled change, never twice at a time. It must not throw. */
  readonly onChange: () => void | Promise<void>;
  /** More files to look at, such as those that the last configuration named; asked at each look. */
  readonly also?: () => readonly string[];
  /** Milliseconds between looks without an event. */
  readonly pollMs?: number;
  /** Milliseconds for which the files must have stood still. */
  readonly settleMs?: number;
}

export interface ConfigWatch {
  /** Calls `onChange` soon, changed or not: SIGHUP. */
  reload(): void;
  /**
   * Settles when the files have been looked at for the first time: what changes from now on is
   * told.
   */
  readonly ready: Promise<void>;
}

/** Watches files and folders; a path that is not there yet is waited for. */
export function watchConfig(paths: readonly string[], options: WatchOptions): ConfigWatch {
  const watching = new Watching(paths, options);
  return { reload: () => watching.reload(), ready: watching.start() };
}

/** Events come in bursts. */
const BURST_MS = 20;

type Fingerprints = ReadonlyMap<string, string>;

class Watching {
  readonly #paths: readonly string[];
  readonly #options: Required<WatchOptions>;
  readonly #watchers = new Map<string, FSWatcher>();
  /** As of the last change that was told. */
  #told: Fingerprints = new Map();
  #cancel: () => void = () => {};
  #looking = false;
  /** Something happened during a look. */
  #again = false;
  #forced = false;

  constructor(paths: readonly string[], options: WatchOptions) {
    this.#paths = paths;
    this.#options = { also: () => [], pollMs: 2000, settleMs: 200, ...options };
  }

  async start(): Promise<void> {
    onAbort(this.#options.signal, () => this.#end());
    this.#follow();
    this.#told = await this.#fingerprints();
    this.#later(this.#options.pollMs);
  }

  reload(): void {
    this.#forced = true;
    this.#soon();
  }

  #soon(): void {
    if (this.#looking) this.#again = true;
    else this.#later(BURST_MS);
  }

  #later(ms: number): void {
    this.#cancel();
    if (this.#options.signal.aborted) return;
    this.#cancel = this.#options.clock.after(ms, () =>
      ignore(this.#look(), 'ends with the signal alone'),
    );
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    this.#again = false;
    const forced = this.#forced;
    this.#forced = false;
    let changed = false;
    try {
      const now = await this.#settled();
      changed = forced || this.#differs(now);
      this.#told = now;
      if (changed && !this.#options.signal.aborted) await this.#options.onChange();
    } finally {
      this.#looking = false;
      this.#follow();
      // After a change at once: the configuration may name files that were not looked at before.
      const soon = changed || this.#again || this.#forced;
      this.#later(soon ? BURST_MS : this.#options.pollMs);
    }
  }

  /** The fingerprints once they have not moved for `settleMs`. */
  async #settled(): Promise<Fingerprints> {
    let now = await this.#fingerprints();
    while (this.#differs(now)) {
      await sleep(this.#options.clock, this.#options.settleMs, this.#options.signal);
      const later = await this.#fingerprints();
      if ([...later].every(([path, text]) => now.get(path) === text)) break;
      now = later;
    }
    return now;
  }

  /** A file that is looked at for the first time is no change. */
  #differs(now: Fingerprints): boolean {
    return [...now].some(([path, text]) => this.#told.has(path) && this.#told.get(path) !== text);
  }

  async #fingerprints(): Promise<Fingerprints> {
    const paths = new Set([...this.#paths, ...this.#options.also()]);
    return new Map(
      await Promise.all([...paths].map(async (path) => [path, await fingerprintOf(path)] as const)),
    );
  }

  /**
   * A file's folder is watched too: a file that is replaced by a rename would be lost otherwise.
   */
  #follow(): void {
    for (const path of this.#paths) {
      this.#open(path, (name) => /^\.\.|\.ya?ml$/.test(name) || name === basename(path));
      this.#open(dirname(path), (name) => name === basename(path));
    }
  }

  /** `concerns`: other files in the folder, such as an audit log, are written all the time. */
  #open(path: string, concerns: (name: string) => boolean): void {
    if (this.#watchers.has(path) || this.#options.signal.aborted) return;
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => {
        if (name === null || concerns(name)) this.#soon();
      });
      watcher.on('error', () => {
        this.#watchers.delete(path);
        watcher.close();
      });
      this.#watchers.set(path, watcher);
    } catch {
      // Not there yet, or out of watches: the regular look finds the change.
    }
  }

  #end(): void {
    this.#cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
