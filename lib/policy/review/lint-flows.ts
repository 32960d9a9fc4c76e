/**
 * Flow rules that do not hold what they seem to hold: a rule over what was read before stops some
 * calls to a place of a lower class and lets others pass, as though a method or the kind of a
 * message said which way data goes. The path and the query of a GET, a cursor or the name of a
 * prompt carry data out as well as a body does.
 */
import { type Destination, protocolOf } from '../protocols/index.ts';
import type { Policy } from '../decision/policy.ts';
import type { RuleBase } from '../model/rule.ts';

export interface FlowFinding {
  readonly rule: RuleBase;
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
  const protocol = protocolOf(destination);
  const rules = protocol.rules(destination.service);
  const [rule] = rules.filter(({ when }) => when?.history === true);
  if (rule === undefined) return undefined;
  if (rules.some((guard) => isOverHistory(guard) && protocol.stopsOutflow(guard))) return undefined;
  for (const open of rules) {
    if (open.effect !== 'allow' || open.when?.history === true) continue;
    const outflow = protocol.outflow(open);
    if (outflow === undefined) continue;
    return {
      rule,
      message:
        `it is over what was read before, and rule ${open.name} still allows ` +
        `${outflow.words} data out`,
      fix: `write a deny rule with ${outflow.guard} and the same condition, without the method`,
    };
  }
  return undefined;
}

/** A deny rule over the history whatever the method. */
function isOverHistory({ effect, when }: RuleBase): boolean {
  return (
    effect === 'deny' && when?.history === true && !/\brequest\s*\.\s*method\b/.test(when.text)
  );
}
