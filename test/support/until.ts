/**
 * Waiting in tests: for a condition, with a deadline and the name of what is awaited. Never sleep
 * for luck.
 */
import { setTimeout as wait } from 'node:timers/promises';

const STEP_MS = 5;

/**
 * Polls until `probe` answers something truthy and returns it; throws after `within` milliseconds
 * (default 30 s, for machines that are busy) naming `what`.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  within = 30_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + within;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${within} ms in vain until ${what}`);
    await wait(STEP_MS);
  }
}
