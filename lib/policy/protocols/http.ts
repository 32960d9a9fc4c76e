/** Protocol http: requests, judged one by one. */
import { nothing, judgeByRules, permittedByRules, reported, uninspectable } from './by-rules.ts';
import { PLAIN } from './entries.ts';
import { httpPermissions } from './http-permissions.ts';
import { HTTP_TERMS, type HttpRule, allowsContentOnGet, mismatchInWords } from './http-rules.ts';
import { noteOnSlashes } from './http-note.ts';
import { httpOutflow, stopsHttpOutflow } from './http-outflow.ts';
import { suggestHttp } from './http-suggest.ts';
import type { ProtocolRow } from './row.ts';

export interface HttpService {
  readonly protocol: 'http';
  readonly rules: readonly HttpRule[];
}

export const HTTP: ProtocolRow<HttpService, HttpRule> = Object.freeze({
  name: 'http',
  phase: 'request',
  http2: false,
  upstreamGreets: false,
  entries: PLAIN,
  judge(question) {
    const { destination, facts } = question;
    if (facts.http === undefined) return uninspectable(destination);
    const { rules } = destination.service;
    return reported(destination, judgeByRules(question, facts.http, rules, HTTP_TERMS));
  },
  rules: ({ rules }) => rules,
  condition: nothing,
  mayAllowContentOnGet: (service) => service.rules.some(allowsContentOnGet),
  mismatch: (rule, { http }) => (http === undefined ? undefined : mismatchInWords(rule, http)),
  permissionsOf: httpPermissions,
  permitted: ({ mode, service }) => permittedByRules(mode, service.rules, httpPermissions),
  outflow: httpOutflow,
  stopsOutflow: stopsHttpOutflow,
  loosened: nothing,
  note: noteOnSlashes,
  suggest: (_, seen) => suggestHttp(seen),
} satisfies ProtocolRow<HttpService, HttpRule>);
