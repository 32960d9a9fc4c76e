/** What every part of the demo's story is told with. */
import { textOf } from '../api-client.ts';
import { setTimeout as wait } from 'node:timers/promises';
import type { Stage } from './setup.ts';

export interface Step {
  readonly title: string;
  /** What was seen, for the reader; throws an Error that says what was seen instead. */
  readonly check: (stage: Stage) => Promise<string>;
}

/** What the agent got. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface Asking {
  readonly body?: string | undefined;
  /** More of the agent's environment. */
  readonly variables?: Readonly<Record<string, string>>;
}

/** One request of the agent's. */
export async function ask(
  stage: Stage,
  method: string,
  url: string,
  { body, variables = {} }: Asking = {},
): Promise<Answer> {
  const [answer] = await stage.agent(['ask', method, url, ...(body === undefined ? [] : [body])], {
    variables,
  });
  expect(answer !== undefined, 'the agent got no answer at all');
  return answer as Answer;
}

export function expect(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

export async function eventually(what: string, holds: () => boolean, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms / 1000} s in vain: ${what}`);
    await wait(20);
  }
}

/** A refusal as the agent was told, in text or JSON. */
export function readRefusal(body: string): { readonly code: string; readonly message: string } {
  const [, message, code] = /^(.*) \[chaperone: ([a-z-]+),/.exec(body) ?? [];
  if (message !== undefined && code !== undefined) return { code, message };
  const told: unknown = JSON.parse(body);
  return { code: textOf(told, 'error'), message: textOf(told, 'message') };
}
