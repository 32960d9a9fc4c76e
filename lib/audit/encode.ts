/**
 * A record as one line of JSON, the only form in which evidence is written. Rules:
 * - one fixed order of keys for each kind, no white space: equal records, equal bytes;
 * - what a record's type does not name is not written, whatever the object holds;
 * - text is cut to `LONGEST_TEXT` characters and escaped beyond what JSON asks for, so that no text from outside can end a line, colour a
 *   terminal or turn its direction: C0, DEL and C1 controls, line and paragraph separators, bidirectional and invisible marks, lone surrogates.
 */
import type { AuditRecord, DecidedRecord, EndedRecord, LifecycleRecord, RedecidedRecord } from './record.ts';

export const LONGEST_TEXT = 1024;

/** The record with its line end. */
export function encodeRecord(record: AuditRecord): string {
  return `{"time":${quote(record.time)},"kind":"${record.kind}"${membersOf(record)}}\n`;
}

function membersOf(record: AuditRecord): string {
  switch (record.kind) {
    case 'decided':
      return decided(record);
    case 'refused':
      return `${text('exchange', record.exchange)}${text('entry', record.entry)}${verdict(record)}`;
    case 'redecided':
      return redecided(record);
    case 'ended':
      return ended(record);
    case 'lifecycle':
      return `${text('event', record.event)}${details(record)}`;
  }
}

function decided(record: DecidedRecord): string {
  return (
    text('exchange', record.exchange) +
    text('entry', record.entry) +
    text('effect', record.effect) +
    verdict(record) +
    text('rule', record.rule) +
    text('action', record.action) +
    text('destination', record.destination) +
    text('dataClass', record.dataClass) +
    text('host', record.host) +
    number('port', record.port) +
    text('method', record.method) +
    text('path', record.path) +
    number('policy', record.policy) +
    text('policyDigest', record.policyDigest) +
    number('identity', record.identity) +
    text('spiffeId', record.spiffeId)
  );
}

function redecided(record: RedecidedRecord): string {
  return (
    text('exchange', record.exchange) +
    text('effect', record.effect) +
    verdict(record) +
    number('policy', record.policy) +
    number('identity', record.identity)
  );
}

function ended(record: EndedRecord): string {
  return (
    text('exchange', record.exchange) +
    text('outcome', record.outcome) +
    text('reason', record.reason) +
    number('status', record.status) +
    text('peer', record.peer) +
    text('serial', record.serial) +
    text('address', record.address) +
    number('sent', record.sent) +
    number('received', record.received) +
    number('durationMs', record.durationMs)
  );
}

function verdict({ code, reason }: { readonly code: string; readonly reason: string }): string {
  return text('code', code) + text('reason', reason);
}

function details({ detail }: LifecycleRecord): string {
  const members = Object.keys(detail)
    .sort()
    .map((name) => {
      const value = detail[name];
      return `${quote(name)}:${typeof value === 'number' ? numeral(value) : quote(value ?? '')}`;
    });
  return `,"detail":{${members.join(',')}}`;
}

function text(name: string, value: string | undefined): string {
  return value === undefined ? '' : `,"${name}":${quote(value)}`;
}

function number(name: string, value: number | undefined): string {
  return value === undefined ? '' : `,"${name}":${numeral(value)}`;
}

/** JSON has no NaN and no infinities. */
function numeral(value: number): string {
  return Number.isFinite(value) ? String(value) : 'null';
}

const PLAIN = /^[ !#-[\]-~]*$/;
const HARMFUL = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function quote(value: string): string {
  const short = value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT)}…` : value;
  if (PLAIN.test(short)) return `"${short}"`;
  return JSON.stringify(short).replace(HARMFUL, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
