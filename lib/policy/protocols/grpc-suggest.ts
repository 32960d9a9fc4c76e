/** From calls that were seen to the least rules that would allow them. */
import { sorted } from '../../base/sorted.ts';
import type { Observation, ProposedRule } from '../model/observation.ts';

export function suggestGrpc(seen: readonly Observation[]): readonly ProposedRule[] {
  const calls = seen.flatMap(({ path }) => {
    const [, service, method] = /^\/([\w.]+)\/(\w+)$/.exec(path ?? '') ?? [];
    return service === undefined || method === undefined ? [] : [{ service, method }];
  });
  const groups = Map.groupBy(
    calls,
    ({ service, method }) => `${isReading(method) ? 'read' : 'write'} ${service}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [action = '', service = ''] = key.split(' ');
    return {
      action,
      about: {
        grpc: {
          services: [service],
          methods: sorted(new Set(members.map(({ method }) => method))),
        },
      },
    };
  });
}

function isReading(method: string): boolean {
  return /^(?:Get|List|Watch|Describe|Read|Search|Query|Count|Check)/.test(method);
}
