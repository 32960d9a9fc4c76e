/** Documents for tests: loads texts from a folder of their own and shows what came of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig, type Config } from '../../lib/config/load/load.ts';

export const SIDECAR = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: agent }
spec:
  defaults: { task: optional }
`;

/**
 * A Destination with the given lines of `spec` (two blanks deep); `name` is also its host below
 * .internal unless hosts are written.
 */
export function destination(spec: string, name = 'crm'): string {
  const has = (key: string): boolean =>
    spec.split('\n').some((line) => line.startsWith(`  ${key}:`));
  const lines = [
    ...(has('hosts') ? [] : [`  hosts: [${name}.internal]`]),
    ...(has('ports') ? [] : ['  ports: [80]']),
    ...(has('tls') ? [] : ["  tls: { mode: mtls, peers: ['spiffe://example.org/crm'] }"]),
  ];
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: ${name} }
spec:
${[...lines, ...(spec === '' ? [] : [spec])].join('\n')}
`;
}

export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'chaperone-config-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Loads the texts as one file `c.yaml` in a folder. */
export async function load(t: Test, ...texts: readonly string[]): Promise<Config> {
  const file = join(folder(t), 'c.yaml');
  writeFileSync(file, texts.join('---\n'));
  return loadConfig([file], { generation: 1 });
}

/**
 * The problems of the texts, without the folder: `c.yaml:4:11 spec.x: message; fix`; [] when they
 * load.
 */
export async function problemsOf(t: Test, ...texts: readonly string[]): Promise<readonly string[]> {
  const path = folder(t);
  const file = join(path, 'c.yaml');
  writeFileSync(file, texts.join('---\n'));
  return problemsIn(path, [file]);
}

export async function problemsIn(
  path: string,
  paths: readonly string[],
): Promise<readonly string[]> {
  try {
    await loadConfig(paths, { generation: 1 });
    return [];
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return error.message.replaceAll(`${path}/`, '').split('\n');
  }
}

/** A TaskPolicy for purpose `support` on destination `crm`, with the given lines of `spec`. */
export function taskPolicy(spec: string, name = 'support'): string {
  const has = (key: string): boolean =>
    spec.split('\n').some((line) => line.startsWith(`  ${key}:`));
  const lines = [
    ...(has('purposes') ? [] : ['  purposes: [support]']),
    ...(has('destinations') ? [] : ['  destinations: [crm]']),
    ...(has('actions') ? [] : ['  actions: [read]']),
    ...(has('dataClasses') ? [] : ['  dataClasses: [restricted]']),
  ];
  return `apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: ${name} }
spec:
${[...lines, ...(spec === '' ? [] : [spec])].join('\n')}
`;
}
