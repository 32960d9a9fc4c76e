/**
 * Slots of `limits.concurrent`: how many exchanges may be under way at one destination, and at one
 * rule or tool of it. An exchange acquires them once it is allowed and releases them at its end.
 */
import { Fault } from '../base/fault.ts';
import type { Destination } from '../policy/protocols/index.ts';

/** The slots in use of one limit. */
export interface Slots {
  readonly name: string;
  taken: number;
}

/** In use, by the name of the destination, and by the words for the rule or the tool. */
export interface SlotTable {
  readonly destinations: Map<string, Slots>;
  readonly rules: Map<string, Slots>;
}

/** An exchange that is counted. */
export interface SlotHolder {
  readonly share: { readonly slots: SlotTable };
  slot: Slots | undefined;
  ruleSlot: Slots | undefined;
}

export function slotTable(): SlotTable {
  return { destinations: new Map(), rules: new Map() };
}

/** Takes one of the destination's slots. @throws Fault `too-many` */
export function acquireSlot(holder: SlotHolder, { name, limits }: Destination): void {
  holder.slot = acquire(holder.share.slots.destinations, name, limits.concurrent, 'destination ');
}

/** Takes one slot of a rule or a tool besides. @throws Fault `too-many` */
export function acquireRuleSlot(holder: SlotHolder, name: string, limit: number): void {
  holder.ruleSlot = acquire(holder.share.slots.rules, name, limit, '');
}

/** Before the exchange leaves its share. */
export function releaseSlots(holder: SlotHolder): void {
  const { slot, ruleSlot } = holder;
  if (slot !== undefined) release(holder.share.slots.destinations, slot);
  if (ruleSlot !== undefined) release(holder.share.slots.rules, ruleSlot);
  holder.slot = holder.ruleSlot = undefined;
}

function acquire(table: Map<string, Slots>, name: string, limit: number, kind: string): Slots {
  let slots = table.get(name);
  if (slots !== undefined && slots.taken >= limit) {
    const hint = 'try again shortly, or raise limits.concurrent there';
    const reason = `${kind}${name} already has ${slots.taken} exchanges at one time`;
    throw new Fault('too-many', reason, { hint });
  }
  if (slots === undefined) table.set(name, (slots = { name, taken: 0 }));
  slots.taken += 1;
  return slots;
}

function release(table: Map<string, Slots>, slots: Slots): void {
  slots.taken -= 1;
  if (slots.taken === 0) table.delete(slots.name);
}
