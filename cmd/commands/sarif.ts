/** Findings of `check` in SARIF 2.1.0 (OASIS), which code scanning and editors read. */
import { relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { VERSION } from '../version.ts';
import type { CheckFinding } from './check-finding.ts';

const SCHEMA =
  'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';

/** Files below the working directory are named relative to it, as %SRCROOT%. */
export function sarif(findings: readonly CheckFinding[]): string {
  const codes = [...new Set(findings.map(({ code }) => code))].toSorted();
  const driver = { name: 'chaperone', version: VERSION, rules: codes.map((id) => ({ id })) };
  const root = { uri: `${pathToFileURL(process.cwd()).href}/` };
  return JSON.stringify({
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [
      {
        tool: { driver },
        originalUriBaseIds: { '%SRCROOT%': root },
        columnKind: 'utf16CodeUnits',
        results: findings.map((one) => result(one, codes)),
      },
    ],
  });
}

function result(
  { level, code, file, line, column, about, message, fix }: CheckFinding,
  codes: readonly string[],
): object {
  const text = `${about === '' ? '' : `${about}: `}${message}${fix === '' ? '' : `; ${fix}`}`;
  const region = line === undefined ? undefined : { startLine: line, startColumn: column };
  return {
    ruleId: code,
    ruleIndex: codes.indexOf(code),
    level,
    message: { text },
    locations: [{ physicalLocation: { artifactLocation: artifact(file), region } }],
  };
}

function artifact(file: string): object {
  const path = relative(process.cwd(), resolve(file));
  if (path.startsWith('..')) return { uri: pathToFileURL(resolve(file)).href };
  return { uri: path.split('/').map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' };
}
