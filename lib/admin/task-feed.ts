/** Task events as they happen, for whoever watches. A watcher that does not read loses the connection, not the sidecar its memory. */
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
const MOST_WAITING = 10_000;
const LAST: ReadonlySet<TaskEvent['event']> = new Set(['completed', 'revoked', 'expired']);

export function taskFeed(): TaskFeed {
  const watchers = new Set<(event: TaskEvent) => void>();

  async function* follow(signal: AbortSignal): AsyncGenerator<TaskEvent, undefined> {
    const waiting: TaskEvent[] = [];
    let [wake, lost] = [Promise.withResolvers<void>(), false];
    const tell = (event: TaskEvent): void => {
      if (waiting.length < MOST_WAITING) waiting.push(event);
      else lost = true;
      wake.resolve();
    };
    watchers.add(tell);
    const off = onAbort(signal, () => wake.resolve());
    try {
      while (!signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (lost) throw new Fault('too-many', 'the watcher does not read: events were lost');
        else {
          await wake.promise;
          wake = Promise.withResolvers();
        }
      }
      return undefined;
    } finally {
      watchers.delete(tell);
      off();
    }
  }

  async function* of(task: string, signal: AbortSignal): AsyncGenerator<TaskEvent, undefined> {
    for await (const event of follow(signal)) {
      if (event.task !== task) continue;
      yield event;
      if (LAST.has(event.event)) return undefined;
    }
    return undefined;
  }

  return {
    tell(event) {
      for (const watcher of watchers) watcher(event);
    },
    all: follow,
    of,
  };
}
