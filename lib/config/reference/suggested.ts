/**
 * The documents of a configuration with what was suggested written into them: rules behind those
 * that are there, destinations behind the last document, `mode: report` and `unlisted: report`
 * taken out. Comments and order stay as they are; the result loads.
 */
import { isMap, isSeq, parseAllDocuments, type Document } from 'yaml';
import type {
  SuggestedDestination,
  SuggestedRule,
  Suggestion,
} from '../../policy/review/suggest.ts';
import { API_VERSION } from '../documents/schema.ts';
import type { Source } from '../load/sources.ts';

export function suggestedText(
  sources: readonly Source[],
  { rules, destinations, left }: Suggestion,
): string {
  const documents = sources.flatMap(({ text }) => documentsOf(text));
  for (const document of documents) edit(document, rules);
  const old = documents.map((document) => String(document.toString(WIDE)).replace(/^---\n/, ''));
  const head = [
    'Suggested by chaperone suggest from what was refused or only let through. Review it: ' +
      'what it allows was asked for, and nobody said that it is right.',
  ];
  const notes = [...head, ...left.map((one) => `Not suggested: ${one}.`)]
    .map((one) => `# ${plain(one)}\n`)
    .join('');
  return notes + [...old, ...destinations.map(destinationText)].join('---\n');
}

const WIDE = Object.freeze({ lineWidth: 0 });

/** One line of a comment. */
function plain(text: string): string {
  return Array.from(text, (char) => (/[\p{Cc}\u2028\u2029]/u.test(char) ? '?' : char)).join('');
}

function documentsOf(text: string): readonly Document[] {
  const documents = parseAllDocuments(text, { version: '1.2', schema: 'core' });
  return Array.isArray(documents) ? documents.filter(({ contents }) => isMap(contents)) : [];
}

function edit(document: Document, rules: Suggestion['rules']): void {
  const kind: unknown = document.get('kind');
  if (kind === 'Sidecar' && document.getIn(['spec', 'defaults', 'unlisted']) === 'report')
    document.deleteIn(['spec', 'defaults', 'unlisted']);
  if (kind !== 'Destination') return;
  if (document.getIn(['spec', 'mode']) === 'report') document.deleteIn(['spec', 'mode']);
  const name: unknown = document.getIn(['metadata', 'name']);
  const added = typeof name === 'string' ? rules.get(name) : undefined;
  if (added === undefined || added.length === 0) return;
  if (!isSeq(document.getIn(['spec', 'rules'])))
    document.setIn(['spec', 'rules'], document.createNode([]));
  for (const rule of added)
    document.addIn(['spec', 'rules'], document.createNode(ruleValue(rule), { flow: true }));
}

function ruleValue({ name, action, about }: SuggestedRule): unknown {
  return { name, effect: 'allow', action, ...about };
}

/**
 * Where it really is and how it is proved is not in a record: the public web is assumed, whose
 * certificates are verified.
 */
function destinationText({ name, host, ports, tunnel, rules }: SuggestedDestination): string {
  const upstream =
    tunnel || ports.join() !== '80' ? [] : [`  upstream: { address: '${host}:443' }`];
  const lines = [
    `apiVersion: ${API_VERSION}`,
    'kind: Destination',
    `metadata: { name: ${name} }`,
    'spec:',
    `  hosts: ['${host}']`,
    `  ports: [${ports.join(', ')}]`,
    ...upstream,
    tunnel ? '  tls: { mode: passthrough }' : '  tls: { mode: web }',
    '  # dataClass: say how sensitive its data is; without this key it counts as the highest class',
    ...(rules.length === 0
      ? []
      : ['  rules:', ...rules.map((rule) => `    - ${JSON.stringify(ruleValue(rule))}`)]),
  ];
  return `${lines.join('\n')}\n`;
}
