/**
 * The certificates that an environment already names for programs to trust (a company's CA), read
 * so that files of ours which take the place of those named hold them too. Only certificates are
 * taken, never a key.
 */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';
import { isInterceptionCa } from '../tls/roots.ts';

/** Variables whose file adds to the roots that a program has. */
const ADDING = ['NODE_EXTRA_CA_CERTS', 'DENO_CERT'] as const;
/** Variables whose file, or folder where a program takes one, replaces them. */
const REPLACING = [
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'AWS_CA_BUNDLE',
  'PIP_CERT',
  'CARGO_HTTP_CAINFO',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE',
  'HTTPLIB2_CA_CERTS',
  'NIX_SSL_CERT_FILE',
] as const;

export interface NamedRoots {
  /** PEM texts of what the adding variables name. */
  readonly adding: readonly string[];
  /** Of all of them, each once. */
  readonly all: readonly string[];
  /** What could not be taken, a sentence each. */
  readonly problems: readonly string[];
}

export const NO_NAMED: NamedRoots = Object.freeze({ adding: [], all: [], problems: [] });

/**
 * Interception CAs are left out, of an earlier run of ours too: the CA of now is added by itself.
 */
export function namedRoots(env: Readonly<Record<string, string | undefined>>): NamedRoots {
  const problems = new Set<string>();
  const taken = (names: readonly string[]): string[] =>
    names.flatMap((name) => {
      const path = env[name] ?? '';
      if (path === '') return [];
      try {
        return certificatesAt(path, () =>
          problems.add(`${name}: ${path} holds a block that is no certificate`),
        );
      } catch (failure) {
        problems.add(
          `${name}: ${path} cannot be read and is left out: ` +
            `${Fault.from(failure, 'internal').message}`,
        );
        return [];
      }
    });
  const adding = [...new Set(taken(ADDING))];
  return { adding, all: [...new Set([...adding, ...taken(REPLACING)])], problems: [...problems] };
}

function certificatesAt(path: string, bad: () => void): string[] {
  const seen = statSync(path);
  if (seen.isFile()) return certificatesIn(readFileSync(path, 'latin1'), bad);
  if (!seen.isDirectory()) throw new Fault('trust-files', 'it is neither a file nor a folder');
  return readdirSync(path)
    .map((name) => join(path, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
    .flatMap((file) => certificatesIn(readFileSync(file, 'latin1'), bad));
}

const BLOCK = /-----BEGIN (?:X509 )?CERTIFICATE-----[^-]*-----END (?:X509 )?CERTIFICATE-----/g;

/** Each in the form in which the engine writes it, so that equal ones are equal texts. */
export function certificatesIn(text: string, bad: () => void = () => {}): string[] {
  return (text.match(BLOCK) ?? []).flatMap((block) => {
    try {
      const pem = new X509Certificate(block).toString().trim();
      return isInterceptionCa(pem) ? [] : [pem];
    } catch {
      bad();
      return [];
    }
  });
}
