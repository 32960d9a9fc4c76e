/** What a Destination of the protocol of the test says. */
import type { ProtocolDocument } from '../../../lib/config/documents/protocol-document.ts';
import { type RuleDocument, compileRules } from '../../../lib/config/documents/rule.ts';
import { list, record, required, text } from '../../../lib/schema/decode.ts';
import type { Infer } from '../../../lib/schema/schema.ts';
import type { SoapService } from './row.ts';

const action = text({ is: 'an action of SOAP', example: 'GetQuote', parse: (value) => value });

export const soapMatch = record({
  actions: required(list(action, { least: 1, unique: String }), 'Actions that the rule is about.'),
});

interface SoapSpec {
  readonly rules: readonly (RuleDocument & {
    readonly soap: Infer<typeof soapMatch> | undefined;
  })[];
}

export const SOAP_DOCUMENT: ProtocolDocument<SoapSpec, SoapService> = {
  keys: ['soap'],
  example: 'write soap: { actions: [name] }',
  hasPaths: true,
  choosesHttp: false,
  checks: [],
  says: ({ soap }) => soap !== undefined,
  unread: () => undefined,
  compile: ({ rules }, conditions) => ({
    protocol: 'soap',
    rules: compileRules(
      rules,
      conditions,
      ({ soap }) => soap && { soap: { actions: new Set(soap.actions) } },
    ),
  }),
};
