/** An abort signal that is made when it is asked for. The first reason stays. */
import type { Fault } from '../base/fault.ts';

export class LazyAbort {
  #reason: Fault | undefined;
  #controller: AbortController | undefined;

  get reason(): Fault | undefined {
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Returns the reason that stays. */
  abort(reason: Fault): Fault {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
    return this.#reason;
  }
}
