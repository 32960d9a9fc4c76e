/**
 * Data that leaves by a request: the path and the query of a GET carry it out as well as a body
 * does.
 */
import type { HttpRule } from './http-rules.ts';
import type { Outflow } from './row.ts';

const OUTFLOW: Outflow = Object.freeze({
  words: 'GET or HEAD, whose path and query carry',
  guard: 'http: {}',
});

export function httpOutflow({ http: { methods } }: HttpRule): Outflow | undefined {
  return methods === undefined || methods.has('GET') || methods.has('HEAD') ? OUTFLOW : undefined;
}

export function stopsHttpOutflow({ http: { methods, paths } }: HttpRule): boolean {
  if (paths !== undefined && !paths.some(({ text }) => text === '/**')) return false;
  return methods === undefined || (methods.has('GET') && methods.has('HEAD'));
}
