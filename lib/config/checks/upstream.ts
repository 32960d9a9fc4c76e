/**
 * Rules over several keys about the way to an upstream and how much may go there; joined to those
 * of checks.ts.
 */
import { isLoopback } from '../../net/ip.ts';
import { at, when, type Finding } from '../documents/finding.ts';
import { PROTOCOL_DOCUMENTS, isOfRequests } from '../documents/protocols.ts';
import type { Check } from './finding.ts';

export const UPSTREAM_CHECKS: readonly Check[] = Object.freeze([
  {
    name: 'via-is-judged-elsewhere',
    doc:
      '`via` with a proxy goes with neither `upstream.cidrs`, which nobody would enforce, ' +
      'nor a loopback upstream.',
    find({ via, upstream }) {
      if (via === undefined || 'direct' in via) return [];
      const { address, cidrs = [] } = upstream ?? {};
      return [
        ...when(
          cidrs.length > 0,
          at('upstream', 'cidrs'),
          'the proxy of via resolves the name, so that its addresses are not judged here',
          'remove cidrs, or write via: { direct: true }',
        ),
        ...when(
          address !== undefined && isLoopback(address.host),
          at('upstream', 'address'),
          'a loopback address behind a proxy is the machine of the proxy',
          'write via: { direct: true }, or another address',
        ),
      ];
    },
  },
  {
    name: 'headers-need-requests',
    doc: '`headers` needs requests that are judged: not mode passthrough, not protocol tcp.',
    find: (spec) =>
      when(
        spec.headers !== undefined && !isOfRequests(spec),
        at('headers'),
        'its header fields are not seen here',
        'remove it',
      ),
  },
  {
    name: 'paths-need-requests',
    doc:
      '`paths` needs requests whose paths are judged: protocol http or mcp, not mode ' +
      'passthrough.',
    find: (spec) =>
      when(
        spec.paths !== undefined &&
          !(isOfRequests(spec) && PROTOCOL_DOCUMENTS[spec.protocol].hasPaths),
        at('paths'),
        'there are no paths to be judged',
        'remove it',
      ),
  },
  {
    name: 'patterns-fit-the-paths',
    doc: 'A pattern in `http.paths` with `%2F` or `//` needs the key of `paths` that keeps it.',
    find: ({ paths, rules }) =>
      rules.flatMap(({ http }, i) =>
        (http?.paths ?? []).flatMap(({ text }, j) => [
          ...when(
            text.includes('%2F') && paths?.encodedSlash !== 'keep',
            at('rules', i, 'http', 'paths', j),
            'no path has an escaped slash here: it would never match',
            'write paths: { encodedSlash: keep }, or another pattern',
          ),
          ...when(
            text.includes('//') && paths?.emptySegments !== 'keep',
            at('rules', i, 'http', 'paths', j),
            'no path has an empty segment here: it would never match',
            'write paths: { emptySegments: keep }, or another pattern',
          ),
        ]),
      ),
  },
  {
    name: 'burst-needs-rate',
    doc: '`limits.burst` belongs to `limits.rate`, of a destination and of a rule.',
    find: ({ limits, rules }) => [
      ...burstAlone(limits, at('limits', 'burst')),
      ...rules.flatMap((rule, i) =>
        burstAlone(rule.limits ?? {}, at('rules', i, 'limits', 'burst')),
      ),
    ],
  },
  {
    name: 'limits-of-allow-rules',
    doc:
      '`limits` of a rule belongs to allow rules: a deny rule lets nothing through that ' +
      'could be counted.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, limits }, i) =>
        when(
          effect === 'deny' && limits !== undefined,
          at('rules', i, 'limits'),
          'a deny rule lets nothing through',
          'remove it',
        ),
      ),
  },
] satisfies readonly Check[]);

function burstAlone(
  { rate, burst }: { readonly rate?: unknown; readonly burst?: number | undefined },
  steps: Finding['steps'],
): readonly Finding[] {
  return when(
    burst !== undefined && rate === undefined,
    steps,
    'there is no rate that it could be a burst of',
    'write rate: 50/s beside it, or remove burst',
  );
}
