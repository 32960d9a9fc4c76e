/**
 * The process's signals as what they mean: SIGTERM and SIGINT drain, a second one forces, SIGHUP
 * loads again.
 */
export interface Signals extends Disposable {
  /** Settles with the name of the first SIGTERM or SIGINT. */
  readonly stop: Promise<NodeJS.Signals>;
  /** Settles with the second. */
  readonly force: Promise<NodeJS.Signals>;
}

export function processSignals(onHangup: () => void): Signals {
  const stop = Promise.withResolvers<NodeJS.Signals>();
  const force = Promise.withResolvers<NodeJS.Signals>();
  let stopping = false;
  const onStop = (signal: NodeJS.Signals): void => {
    (stopping ? force : stop).resolve(signal);
    stopping = true;
  };
  process.on('SIGTERM', onStop).on('SIGINT', onStop).on('SIGHUP', onHangup);
  return {
    stop: stop.promise,
    force: force.promise,
    [Symbol.dispose]: () =>
      void process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', onHangup),
  };
}
