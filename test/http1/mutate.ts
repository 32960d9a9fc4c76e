/**
 * Messages distorted as bytes, without regard to what they say: flips, splices, truncations,
 * repetitions. And making a failing one small.
 */
import { pick, someRequest, someResponse } from './generator.ts';
import type { Random } from './generator.ts';
import type { Role } from './reading.ts';

const below = (random: Random, most: number): number => Math.floor(random() * most);

function flipped(random: Random, text: string): string {
  const at = below(random, text.length);
  const bit = 1 << below(random, 8);
  return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ bit) + text.slice(at + 1);
}

function spliced(random: Random, text: string, other: string): string {
  return (
    text.slice(0, below(random, text.length + 1)) + other.slice(below(random, other.length + 1))
  );
}

function truncated(random: Random, text: string): string {
  return text.slice(0, below(random, text.length + 1));
}

function repeated(random: Random, text: string): string {
  const from = below(random, text.length);
  const to = from + 1 + below(random, Math.min(40, text.length - from));
  const to2 = below(random, text.length + 1);
  return text.slice(0, to2) + text.slice(from, to) + text.slice(to2);
}

function replaced(random: Random, text: string): string {
  const at = below(random, text.length);
  return text.slice(0, at) + String.fromCharCode(below(random, 256)) + text.slice(at + 1);
}

const DISTORTIONS = [flipped, flipped, replaced, spliced, truncated, repeated] as const;

/** The text with one to three distortions; `other` gives what is spliced in. */
export function distorted(random: Random, text: string, other: () => string): string {
  let changed = text;
  for (let left = 1 + below(random, 3); left > 0 && changed !== ''; left--)
    changed = pick(random, DISTORTIONS)(random, changed, other());
  return changed;
}

/** A message of the grammar or near it, a third of them distorted as bytes besides. */
export function fuzzed(random: Random, role: Role): string {
  const make = role === 'request' ? someRequest : someResponse;
  const text = make(random);
  return random() < 0.65 ? text : distorted(random, text, () => make(random));
}

/** The bytes in two to four pieces, cut anywhere. */
export function pieces(random: Random, bytes: Buffer): readonly Buffer[] {
  const cuts = Array.from({ length: 1 + below(random, 3) }, () =>
    below(random, bytes.length + 1),
  ).sort((a, b) => a - b);
  return [0, ...cuts].map((from, at) => bytes.subarray(from, cuts[at] ?? bytes.length));
}

/**
 * A shorter text that still fails, found by leaving parts out; the same text where none is shorter.
 */
export async function shrunk(
  text: string,
  fails: (text: string) => Promise<boolean>,
): Promise<string> {
  let smallest = text;
  for (
    let size = Math.ceil(text.length / 2);
    size > 0;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < smallest.length;) {
      const without = smallest.slice(0, at) + smallest.slice(at + size);
      if (await fails(without)) smallest = without;
      else at += size;
    }
  }
  return smallest;
}
