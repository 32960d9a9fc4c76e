/**
 * What a stream's life is worth telling an operator: the same trouble once, then only counted, and
 * its end with the count.
 */
import type { Fault } from '../base/fault.ts';

export interface IdentityNote {
  readonly level: 'info' | 'warn';
  readonly text: string;
  /** Which stream of the Workload API: `X.509-SVIDs` or `JWT bundles`. */
  readonly stream: string;
}

export interface Notes {
  info(text: string): void;
  warn(text: string): void;
  /** Tells a fault unless it is the one told last. */
  trouble(fault: Fault): void;
  /** All is well; tells so when it was not. */
  fine(): void;
}

export function notes(stream: string, tell: (note: IdentityNote) => void): Notes {
  let last: string | undefined;
  let failures = 0;
  return {
    info: (text) => tell({ level: 'info', text, stream }),
    warn: (text) => tell({ level: 'warn', text, stream }),
    trouble(fault) {
      failures += 1;
      const text = fault.describe();
      if (text === last) return;
      last = text;
      tell({ level: 'warn', text, stream });
    },
    fine() {
      if (failures > 0)
        tell({ level: 'info', text: `well again after ${failures} failed attempts`, stream });
      failures = 0;
      last = undefined;
    },
  };
}
