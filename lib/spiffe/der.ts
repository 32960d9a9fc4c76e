/**
 * Just enough DER (X.690 section 10) to walk values that somebody else must not be trusted to have
 * split: one-byte tags, definite lengths in their shortest form, nothing left over. Whatever does
 * not fit is a `DerError`, which the callers turn into a Fault that names the place.
 */

/** One tag-length-value. */
export interface Der {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag and length included. */
  readonly whole: Uint8Array;
}

export class DerError extends Error {}

export const TAG = Object.freeze({
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
});

/** Longer than any certificate that we would take. */
const MAX_LENGTH_BYTES = 3;

function lengthAt(
  bytes: Uint8Array,
  at: number,
): { readonly length: number; readonly next: number } {
  const first = bytes[at];
  if (first === undefined) throw new DerError('it ends in the middle of a length');
  if (first < 0x80) return { length: first, next: at + 1 };
  const count = first & 0x7f;
  if (count === 0 || count > MAX_LENGTH_BYTES)
    throw new DerError('it has a length of a forbidden form');
  let length = 0;
  for (let index = 1; index <= count; index += 1) {
    const byte = bytes[at + index];
    if (byte === undefined) throw new DerError('it ends in the middle of a length');
    length = length * 256 + byte;
  }
  if (length < 0x80 || length < 256 ** (count - 1))
    throw new DerError('it has a length that is not the shortest');
  return { length, next: at + 1 + count };
}

/** Every element of a concatenation; the whole of `bytes` must be used up. */
export function elements(bytes: Uint8Array): Der[] {
  const list: Der[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] ?? 0;
    if ((tag & 0x1f) === 0x1f) throw new DerError('it has a tag of more than one byte');
    const { length, next } = lengthAt(bytes, at + 1);
    const end = next + length;
    if (end > bytes.length) throw new DerError('it is cut short');
    list.push({ tag, content: bytes.subarray(next, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return list;
}

/** The only element of `bytes`, which must have this tag. */
export function only(bytes: Uint8Array, tag: number): Der {
  const [first, ...rest] = elements(bytes);
  if (first?.tag !== tag || rest.length > 0)
    throw new DerError('it is not the one value that belongs there');
  return first;
}
