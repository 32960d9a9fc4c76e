/**
 * Flow rules that do not hold what they seem to hold: a rule over what was read before stops some
 * calls to a place of a lower class and lets others pass, as though a method or the kind of a
 * message said which way data goes. The path and the query of a GET, a cursor or the name of a
 * prompt carry data out as well as a body does.
 */
import type { Destination } from '../model/destination.ts';
import type { Policy } from '../model/policy.ts';
import type { Rule } from '../model/rule.ts';

export interface FlowFinding {
  readonly rule: Rule;
  readonly message: string;
  readonly fix: string;
}

export function leaks(
  destination: Destination,
  { destinations, dataClasses }: Policy,
): FlowFinding | undefined {
  const rank = dataClasses.indexOf(destination.dataClass);
  if (destinations.every(({ dataClass }) => dataClasses.indexOf(dataClass) <= rank))
    return undefined;
  const { rules } = destination;
  const [rule] = rules.filter(({ when }) => when?.history === true);
  if (rule === undefined || rules.some(guardsAll)) return undefined;
  const open = rules.find(
    (one) => one.effect === 'allow' && one.when?.history !== true && isWay(one),
  );
  if (open === undefined) return undefined;
  const passes =
    open.mcp === undefined ? 'GET or HEAD, whose path and query carry' : 'messages that carry';
  return {
    rule,
    message: `it is over what was read before, and rule ${open.name} still allows ${passes} data out`,
    fix:
      'write a deny rule with ' +
      `${open.mcp === undefined ? 'http: {}' : "mcp: { tools: ['*'] }"} and the same ` +
      'condition, without the method',
  };
}

/** A deny rule over the history that leaves nothing out. */
function guardsAll({ effect, http, mcp, grpc, when }: Rule): boolean {
  if (effect !== 'deny' || when?.history !== true || /\brequest\s*\.\s*method\b/.test(when.text))
    return false;
  if (mcp !== undefined) return mcp.tools.has('*');
  if (grpc !== undefined) return grpc.services === undefined && grpc.methods === undefined;
  if (http?.paths !== undefined && !http.paths.some(({ text }) => text === '/**')) return false;
  return http?.methods === undefined || (http.methods.has('GET') && http.methods.has('HEAD'));
}

function isWay({ http, mcp }: Rule): boolean {
  if (mcp !== undefined) return true;
  return (
    http !== undefined &&
    (http.methods === undefined || http.methods.has('GET') || http.methods.has('HEAD'))
  );
}
