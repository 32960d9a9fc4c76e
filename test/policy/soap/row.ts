/** A protocol that is there for a test alone: requests that name an action of SOAP in a field. */
import { fieldOf } from '../../../lib/http/message.ts';
import type { HttpFacts } from '../../../lib/policy/model/facts.ts';
import type { Permission } from '../../../lib/policy/model/permission.ts';
import type { RuleBase } from '../../../lib/policy/model/rule.ts';
import {
  OTHER_CALLS,
  type RuleTerms,
  judgeByRules,
  nothing,
  permittedByRules,
  reported,
  uninspectable,
} from '../../../lib/policy/protocols/by-rules.ts';
import { PLAIN } from '../../../lib/policy/protocols/entries.ts';
import type { ProtocolRow } from '../../../lib/policy/protocols/row.ts';

export interface SoapRule extends RuleBase {
  readonly soap: { readonly actions: ReadonlySet<string> };
}

export interface SoapService {
  readonly protocol: 'soap';
  readonly rules: readonly SoapRule[];
}

const actionOf = ({ fields }: HttpFacts): string => fieldOf(fields, 'soapaction') ?? '';

const TERMS: RuleTerms<SoapRule, HttpFacts> = {
  isAbout: ({ soap }, request) => soap.actions.has(actionOf(request)),
  words: (request) => `SOAP action ${actionOf(request)}`,
  hint: (_, request) => `add an allow rule whose soap has actions: [${actionOf(request)}]`,
};

function permission(action: string): Permission {
  const text = `SOAP action ${action}`;
  const same = (other: Permission): boolean => other.text === text;
  return { text, covers: same, overlaps: same };
}

const permissionsOf = ({ soap }: SoapRule): readonly Permission[] =>
  Array.from(soap.actions, permission);

export const SOAP: ProtocolRow<SoapService, SoapRule> = {
  name: 'soap',
  phase: 'request',
  http2: false,
  upstreamGreets: false,
  entries: PLAIN,
  judge(question) {
    const { destination, facts } = question;
    if (facts.http === undefined) return uninspectable(destination);
    const { rules } = destination.service;
    return reported(destination, judgeByRules(question, facts.http, rules, TERMS));
  },
  rules: ({ rules }) => rules,
  condition: nothing,
  mayAllowContentOnGet: () => false,
  mismatch: (rule, { http }) =>
    http !== undefined && TERMS.isAbout(rule, http) ? undefined : OTHER_CALLS,
  permissionsOf,
  permitted: ({ mode, service }) => permittedByRules(mode, service.rules, permissionsOf),
  outflow: nothing,
  stopsOutflow: () => false,
  loosened: nothing,
  note: nothing,
  suggest: () => [],
};
