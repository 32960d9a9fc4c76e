/** The begin of a request in what was received: the preface of HTTP/2, an empty line, the head. */
import type { Fault } from '../base/fault.ts';
import { REQUEST, longHead, malformed } from '../http/field-lines.ts';
import { CR, LF } from '../http/grammar.ts';
import type { RequestHead } from '../http/message.ts';
import type { ReadBuffer } from './read-buffer.ts';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** How much of the preface of HTTP/2 stands at the begin of the input. */
export function prefaceIn({ bytes, at, unread }: ReadBuffer): 'none' | 'part' | 'whole' {
  const length = Math.min(unread, PREFACE.length);
  if (bytes.compare(PREFACE, 0, length, at, at + length) !== 0) return 'none';
  return unread >= PREFACE.length ? 'whole' : 'part';
}

/**
 * Takes an empty line before a request (RFC 9112 section 2.2). `part`: what has come may be the
 * begin of one.
 */
export function takeBlankLine(input: ReadBuffer): 'none' | 'part' | 'taken' {
  const { bytes, at, unread } = input;
  if (unread === 0 || bytes[at] !== CR) return 'none';
  if (unread === 1) return input.ended ? 'none' : 'part';
  if (bytes[at + 1] !== LF) return 'none';
  input.at += 2;
  return 'taken';
}

/** Takes a head; undefined while it is not complete. Throws a Fault for what is no head. */
export function takeRequestHead(
  input: ReadBuffer,
  parse: (text: string) => RequestHead | undefined,
  most: number,
): RequestHead | undefined {
  const head = input.takeBlock(parse, most, overHead);
  if (head === undefined && input.ended && input.unread > 0)
    throw malformed(REQUEST, 'it was not complete when the client ended');
  return head;
}

const overHead = (most: number): Fault => longHead(REQUEST, most);
