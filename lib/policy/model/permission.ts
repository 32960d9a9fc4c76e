/**
 * What a rule is about, taken apart into permissions that can be compared: whether one covers
 * another, whether two have a call in common. Patterns are compared as patterns, so the answers
 * hold for every call there could be. `covers` may say no where yes is right, and `overlaps` yes
 * where no is right; never the other way.
 */

export interface Permission {
  /** In words: `GET /v1/**`, `tool pay`. */
  readonly text: string;
  /** Includes everything that `other` is; `other` is not EVERYTHING. */
  covers(other: Permission): boolean;
  /** Has something in common with `other`, which is not EVERYTHING. */
  overlaps(other: Permission): boolean;
}

/** Everything that can be asked, as where rules only report. */
export const EVERYTHING: Permission = Object.freeze({
  text: 'everything',
  covers: () => true,
  overlaps: () => true,
});

/** A permission and what the policy says beside it. */
export interface Permitted {
  readonly permission: Permission;
  readonly action: string;
  /** Name of the rule; undefined where there are none to be held against. */
  readonly rule: string | undefined;
  /** Text of its condition. */
  readonly when: string | undefined;
}

export function covers(wide: Permission, narrow: Permission): boolean {
  return wide === EVERYTHING || (narrow !== EVERYTHING && wide.covers(narrow));
}

export function overlaps(a: Permission, b: Permission): boolean {
  return a === EVERYTHING || b === EVERYTHING || a.overlaps(b);
}

/** A method, a name, a service: every one. */
export const EVERY = '*';

export function nameCovers(wide: string, narrow: string): boolean {
  return wide === EVERY || wide === narrow;
}

export function namesOverlap(a: string, b: string): boolean {
  return nameCovers(a, b) || nameCovers(b, a);
}
