/** What goes over the agent API, as values. The API describes itself in full at `/openapi.json`. */
import { Unreachable } from './errors.ts';

/** What the agent is about to do. It asks; policy decides. */
export interface Intent {
  /** One of the purposes of a TaskPolicy. */
  readonly purpose: string;
  /** Who answers for the task; this or `onBehalfOf` is needed. */
  readonly owner?: string;
  /** The person for whom the agent acts. */
  readonly onBehalfOf?: string;
  /** Names of destinations, or hosts with or without port. */
  readonly targets: readonly string[];
  readonly actions: readonly string[];
  /** Classes of data to be touched; default those of the targets. */
  readonly dataClasses?: readonly string[];
  /** Such as `10m`. */
  readonly lifetime?: string;
  /** How many calls. */
  readonly maxCalls?: number;
  /** A history of its own, where policy allows that. */
  readonly isolated?: boolean;
}

export type DerivedIntent = Omit<Intent, 'purpose'> & { readonly purpose?: string };

export interface Grant {
  readonly destinations: readonly string[];
  readonly actions: readonly string[];
  /** Actions that wait for an approval. */
  readonly stepUp: readonly string[];
  readonly dataClasses: readonly string[];
  /** Calls in all. */
  readonly maxCalls: number;
}

export interface RefusedPart {
  readonly part: string;
  readonly value: string;
  readonly reason: string;
}

export interface StepUp {
  readonly id: string;
  readonly state: 'pending' | 'approved' | 'denied' | 'lapsed';
  readonly action: string;
  readonly answeredBy?: string;
  /** Why it was denied. */
  readonly answer?: string;
  /** Milliseconds and calls that an approval is good for, at the most. */
  readonly ttl: number;
  readonly maxCalls: number | 'unlimited';
}

export interface Opened {
  readonly id: string;
  readonly purpose: string;
  readonly owner: string | undefined;
  readonly onBehalfOf: string | undefined;
  readonly grant: Grant;
  readonly refused: readonly RefusedPart[];
  /** Uses the task, sees it and asks for step-ups. */
  readonly credentials: string;
  /**
   * Extends it, derives from it and completes it; a program that was started in the task does not
   * have it.
   */
  readonly authorization: string | undefined;
  readonly proxyUrl: string | undefined;
  readonly sockets: Readonly<Record<string, string>>;
  readonly expiresAt: Date;
}

/** @throws Unreachable when it is not what a sidecar of this version says */
export function openedOf(value: unknown): Opened {
  const answer = checked<Opened>(value, [
    'id',
    'purpose',
    'grant',
    'refused',
    'credentials',
    'sockets',
    'expiresAt',
  ]);
  return { ...answer, expiresAt: new Date(answer.expiresAt) };
}

/** @throws Unreachable, as openedOf */
export function stepUpOf(value: unknown): StepUp {
  return checked<StepUp>(value, ['id', 'state', 'action']);
}

function checked<T extends object>(value: unknown, names: readonly (keyof T & string)[]): T {
  for (const name of names)
    if (Object(value)[name] === undefined)
      throw new Unreachable(`the answer has no ${name}; is the sidecar of another version?`);
  return value as T;
}
