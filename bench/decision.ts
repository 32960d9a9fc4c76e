/**
 * What one decision costs, alone, with few and with many destinations; loaded from a document as an
 * operator's would be.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../lib/config/load/load.ts';
import { decide } from '../lib/policy/decision/decide.ts';
import type { Facts } from '../lib/policy/model/facts.ts';
import type { Policy } from '../lib/policy/decision/policy.ts';

const DECISIONS = 200_000;

/**
 * Microseconds a decision with so many destinations, of a request for ten of them in turn; the
 * median of five rounds, after one to warm up. `when` is the condition of the rule that allows.
 */
export async function decisionCost(
  folder: string,
  destinations: number,
  when?: string,
): Promise<number> {
  const policy = await policyOf(folder, destinations, when);
  const facts = Array.from({ length: 10 }, (_, at) =>
    request(Math.floor((at * destinations) / 10)),
  );
  const rounds = Array.from({ length: 6 }, () => round(policy, facts));
  return rounds.slice(1).sort((a, b) => a - b)[2] ?? Number.NaN;
}

function round(policy: Policy, facts: readonly Facts[]): number {
  const began = performance.now();
  for (let i = 0; i < DECISIONS / facts.length; i++) {
    for (const one of facts)
      if (decide(policy, one).effect === 'deny') throw new Error(`${one.host} is denied`);
  }
  return ((performance.now() - began) * 1000) / DECISIONS;
}

function request(n: number): Facts {
  const http = { method: 'GET', path: '/v1/small', query: '', websocket: false, fields: [] };
  return {
    entry: 'forward',
    host: `d${n}.internal`,
    port: 80,
    listener: undefined,
    http,
    time: Date.now(),
  };
}

async function policyOf(folder: string, count: number, when: string | undefined): Promise<Policy> {
  const file = join(folder, `destinations-${count}.yaml`);
  const documents = Array.from({ length: count }, (_, n) => destination(n, when));
  await writeFile(file, [SIDECAR, ...documents].join('---\n'));
  return (await loadConfig([file], { generation: 1 })).policy;
}

const SIDECAR = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  audit: { sinks: [{ stdout: true }] }
  defaults: { task: optional }
  forward: { address: 127.0.0.1:15001 }
`;

const destination = (
  n: number,
  when: string | undefined,
): string => `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: d${n} }
spec:
  hosts: [d${n}.internal]
  ports: [80]
  upstream: { address: 127.0.0.1:8443 }
  tls: { mode: mtls, peers: ['spiffe://bench.local/upstream'] }
  dataClass: internal
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/export/**] } }
    - name: use
      effect: allow
      action: write
      http: { methods: [GET, PUT], paths: [/v1/**] }
${when === undefined ? '' : `      when: "${when}"`}
`;
