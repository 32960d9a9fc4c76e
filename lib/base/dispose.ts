/**
 * Undoes what was opened, in reverse order, all of it even when one fails; a second dispose waits
 * for the first.
 */
export interface Disposer extends AsyncDisposable {
  /** Takes charge of a thing that closes itself. Returns it. */
  use<T extends AsyncDisposable>(thing: T): T;
  defer(close: () => void | PromiseLike<void>): void;
}

export function disposer(): Disposer {
  const closers: (() => void | PromiseLike<void>)[] = [];
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const close of closers.reverse()) {
      try {
        await close();
      } catch (failure) {
        failures.push(failure);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'cannot close everything');
  };
  return {
    use(thing) {
      closers.push(() => thing[Symbol.asyncDispose]());
      return thing;
    },
    defer: (close) => void closers.push(close),
    [Symbol.asyncDispose]: () => (closing ??= closeAll()),
  };
}
