/**
 * What the failure of a request says of whether it was processed, and so of whether it may be sent
 * again.
 */
import { Fault } from '../base/fault.ts';
import { timeHint } from './limits.ts';

/**
 * A connection that was used before ended without a byte of answer: the server had most likely
 * closed it while idle (RFC 9112 section 9.3.1).
 */
class Untouched extends Fault {
  readonly untouched = true;
}

class Unprocessed extends Fault {
  readonly unprocessed = true;
}

/**
 * Whether it is certain that the upstream did not process the request: no byte of it was written,
 * or the protocol says so. It may be sent again, whatever its method, if its body is still whole.
 */
export function isUnprocessed(failure: unknown): boolean {
  return failure instanceof Unprocessed;
}

export function unprocessed(message: string, cause?: unknown): Fault {
  return new Unprocessed('upstream-cut', message, { cause });
}

/**
 * Whether a request failed on a connection used before without a byte of answer, so that it may be
 * tried once on a fresh one if its body is still whole.
 */
export function isUntouched(failure: unknown): boolean {
  return failure instanceof Untouched;
}

/** The same Fault, as one for which `isUntouched` is true. */
export function untouched(fault: Fault): Fault {
  return new Untouched(fault.code, fault.message, { cause: fault });
}

export function unread(): Fault {
  return new Fault(
    'upstream-timeout',
    'the upstream does not read the request',
    timeHint('writeTimeout'),
  );
}
