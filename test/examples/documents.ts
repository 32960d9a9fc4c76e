/** The examples' configuration, as it stands, moved to a folder and to ports of this test. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ClientAddresses } from '../clients/fixture.ts';

export const EXAMPLES = resolve(import.meta.dirname, '../../examples');

export function exampleDocuments({ folder, workloadApi, crm }: ClientAddresses): string {
  return readFileSync(resolve(EXAMPLES, 'chaperone.yaml'), 'utf8')
    .replace('unix:///tmp/chaperone/workload.sock', workloadApi)
    .replace('/tmp/chaperone/agent/api.sock', `${folder}/agent/a.sock`)
    .replace('/tmp/chaperone/admin/api.sock', `${folder}/admin/a.sock`)
    .replaceAll('/tmp/chaperone', folder)
    .replaceAll(/127\.0\.0\.1:150\d\d/g, '127.0.0.1:0')
    .replace('127.0.0.1:8443', crm);
}

/** What an agent of the examples says, a JSON object a line. */
export function said(text: string): readonly Readonly<Record<string, unknown>>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}
