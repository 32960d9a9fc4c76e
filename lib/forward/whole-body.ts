/** A body read whole, bounded by itself and together with all others that are being received. */
import { Fault } from '../base/fault.ts';
import type { Held } from '../exchange/shares.ts';
import type { Body } from '../http/message.ts';

export interface BodyReading {
  /** Bytes. */
  readonly limit: number;
  readonly counted: (bytes: number) => void;
  readonly tooLarge: (limit: number) => Fault;
  readonly held: Held;
}

/**
 * All of a body, bounded; together with all others that are being received, because before a
 * decision no other limit holds.
 */
export async function wholeBody(
  body: Body,
  { limit, counted, tooLarge, held }: BodyReading,
): Promise<Buffer> {
  if ((body.length ?? 0) > limit) throw tooLarge(limit);
  const pieces: Buffer[] = [];
  let total = 0;
  try {
    for (;;) {
      const piece = body.poll();
      if (piece === 'end')
        return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
      if (piece === 'later') {
        await body.ready();
        continue;
      }
      total += piece.length;
      held.bytes += piece.length;
      if (total > limit) throw tooLarge(limit);
      if (held.bytes > held.most) throw tooManyHeld();
      counted(piece.length);
      // While more is waited for, the buffer belongs to the connection.
      pieces.push(total === body.length ? piece : Buffer.from(piece));
    }
  } finally {
    held.bytes -= total;
  }
}

/** Counts bytes as held until `release`. @throws Fault `too-many` */
export function hold(held: Held, bytes: number): Disposable {
  if (held.bytes + bytes > held.most) throw tooManyHeld();
  held.bytes += bytes;
  return { [Symbol.dispose]: () => void (held.bytes -= bytes) };
}

function tooManyHeld(): Fault {
  return new Fault('too-many', 'too many messages are being received at one time');
}
