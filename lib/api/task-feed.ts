/**
 * Task events as they happen, for whoever watches. A watcher that does not read loses the
 * connection, not the sidecar its memory.
 */
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { TaskEvent } from '../tasks/events.ts';

export interface TaskFeed {
  tell(event: TaskEvent): void;
  /** All events from now on, until the signal aborts. */
  all(signal: AbortSignal): AsyncIterable<TaskEvent>;
  /** Those of one task, the last of which is its end. */
  of(task: string, signal: AbortSignal): AsyncIterable<TaskEvent>;
}

/** Events that wait for one watcher. */
const MAX_WAITING = 10_000;
const LAST: ReadonlySet<TaskEvent['event']> = new Set(['completed', 'revoked', 'expired']);

interface Watcher {
  readonly wants: (event: TaskEvent) => boolean;
  readonly waiting: TaskEvent[];
  lost: boolean;
  wake: PromiseWithResolvers<void>;
}

export function taskFeed(): TaskFeed {
  const watchers = new Set<Watcher>();

  // It watches from this call on, whenever it is read.
  const watch = (wants: Watcher['wants'], signal: AbortSignal): Watcher => {
    const watcher = { wants, waiting: [], lost: false, wake: Promise.withResolvers<void>() };
    watchers.add(watcher);
    onAbort(signal, () => {
      watchers.delete(watcher);
      watcher.wake.resolve();
    });
    return watcher;
  };

  async function* follow(
    watcher: Watcher,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent, undefined> {
    try {
      while (!signal.aborted) {
        const next = watcher.waiting.shift();
        if (next !== undefined) yield next;
        else if (watcher.lost)
          throw new Fault('too-many', 'the watcher does not read: events were lost');
        else {
          await watcher.wake.promise;
          watcher.wake = Promise.withResolvers();
        }
      }
      return undefined;
    } finally {
      watchers.delete(watcher);
    }
  }

  return {
    tell(event) {
      for (const watcher of watchers) {
        if (!watcher.wants(event)) continue;
        if (watcher.waiting.length < MAX_WAITING) watcher.waiting.push(event);
        else watcher.lost = true;
        watcher.wake.resolve();
      }
    },
    all: (signal) => follow(watch(everything, signal), signal),
    of: (task, signal) =>
      untilEnd(
        follow(
          watch((event) => event.task === task, signal),
          signal,
        ),
      ),
  };
}

/** The events of one task, up to its end. */
async function* untilEnd(events: AsyncIterable<TaskEvent>): AsyncGenerator<TaskEvent, undefined> {
  for await (const event of events) {
    yield event;
    if (LAST.has(event.event)) return undefined;
  }
  return undefined;
}

function everything(): boolean {
  return true;
}
