/**
 * `chaperone trust`: what programs need to say https:// to intercepted hosts. Writes the CA of a
 * running sidecar, alone and beside the roots of the system, into a folder, and prints the
 * variables that name the files. With `intercept.trust` in the configuration the sidecar writes the
 * folder itself, and the variables are all there is to do.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join, resolve } from 'node:path';
import { Fault } from '../../lib/base/fault.ts';
import type { SidecarSpec } from '../../lib/config/load/compile-sidecar.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { joinTrust } from '../../lib/interception/joined-trust.ts';
import { namedRoots } from '../../lib/interception/named-roots.ts';
import { CA_FILE, trustFiles, writeTrust } from '../../lib/interception/trust.ts';
import { INTERCEPTION_CA_PAGE } from '../../lib/telemetry/health.ts';
import { systemRoots } from '../../lib/tls/roots.ts';
import { environment } from '../environment.ts';
import type { Io } from '../io.ts';

export type TrustFormat = 'shell' | 'dotenv' | 'json';

export interface TrustOptions {
  readonly config: readonly string[];
  /** Where to write; without it the folder of `intercept.trust`, which the sidecar writes. */
  readonly dir?: string;
  /** Where the program sees the folder; by default where it is. */
  readonly mount?: string;
  /** A file with the CA's certificate, instead of asking the sidecar. */
  readonly ca?: string;
  /** Folder of an NSS database to add the CA to. */
  readonly nss?: string;
  readonly format: string;
}

export async function trust(options: TrustOptions, io: Io): Promise<void> {
  const print = printers(options.format);
  const { sidecar } = await loadConfig(options.config, { generation: 1 });
  const { intercept } = sidecar;
  if (intercept === undefined) {
    throw new Fault('usage', 'nothing is intercepted: there is no CA to trust', {
      hint: 'set spec.intercept in the Sidecar document',
    });
  }
  if (options.nss !== undefined) {
    const { writeNss } = await import('../nss.ts');
    writeNss(resolve(options.nss), await certificate(options, sidecar));
    io.err(
      `the CA is in the NSS database ${options.nss}; browsers that run read it when ` +
        'they start again',
    );
    if (options.dir === undefined && intercept.trustFolder === undefined) return;
  }
  const folder = options.dir === undefined ? intercept.trustFolder : resolve(options.dir);
  if (folder === undefined) {
    throw new Fault('usage', 'there is no folder to write to', {
      hint:
        'say --dir, or set spec.intercept.trust.folder, which the sidecar then keeps up to ' +
        'date by itself',
    });
  }
  const { mount = folder } = options;
  const trusted =
    options.dir === undefined
      ? await kept(folder, mount, io)
      : await written(folder, options, sidecar, io);
  const { variables, notes } = environment({
    proxy: undefined,
    trust: trusted,
    hosts: undefined,
    before: io.env,
    exists: existsSync,
  });
  if (options.dir === undefined && mount !== folder) {
    // What is in these two names the folder as the sidecar sees it.
    delete variables['WGETRC'];
    delete variables['APT_CONFIG'];
  }
  for (const note of notes) io.err(note);
  for (const line of print(variables)) io.out(line);
}

/**
 * The folder that the sidecar writes; one of the user's where that lacks what is trusted already.
 */
async function kept(folder: string, mount: string, io: Io): Promise<string> {
  if (mount !== folder) return mount;
  const joined = await joinTrust(folder, io.env);
  for (const problem of joined.problems) io.err(problem);
  return joined.folder;
}

/** Writes the files of the sidecar's CA, with what is trusted already. */
async function written(
  folder: string,
  options: TrustOptions,
  sidecar: SidecarSpec,
  io: Io,
): Promise<string> {
  const { mount = folder } = options;
  const ca = await certificate(options, sidecar);
  const named = namedRoots(io.env);
  for (const problem of named.problems) io.err(problem);
  await writeTrust(folder, ca, { named, mount, roots: systemRoots(io.env) });
  const names = [...trustFiles(folder, ca, { roots: [] }).keys()].join(', ');
  io.err(`wrote ${names} to ${folder}; the CA is valid until ${ca.validTo}`);
  return mount;
}

type Print = (variables: Readonly<Record<string, string>>) => readonly string[];

function printers(format: string): Print {
  switch (format) {
    case 'shell':
      return (variables) =>
        Object.entries(variables).map(([name, value]) => `export ${name}=${quoted(value)}`);
    case 'dotenv':
      return (variables) =>
        Object.entries(variables).map(([name, value]) => `${name}=${dotenv(value)}`);
    case 'json':
      return (variables) => [JSON.stringify(variables)];
    default:
      throw new Fault('usage', `there is no format ${format}`, {
        hint: 'say shell, dotenv or json',
      });
  }
}

/** One word of a POSIX shell. */
export function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function dotenv(value: string): string {
  return /^[\w./:@%+=,-]+$/.test(value)
    ? value
    : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

async function certificate(
  { ca }: TrustOptions,
  { intercept, health }: SidecarSpec,
): Promise<X509Certificate> {
  if (ca !== undefined) return parsed(await readFile(ca, 'utf8').catch(unreadable(ca)), ca);
  if (health !== undefined) {
    const host = ({ '0.0.0.0': '127.0.0.1', '::': '::1' } as const)[health.host] ?? health.host;
    return parsed(await page(host, health.port), `the health page of ${host}:${health.port}`);
  }
  if (intercept?.trustFolder === undefined) {
    throw new Fault('usage', 'there is no way to ask the sidecar for its CA', {
      hint:
        'set spec.health.address or spec.intercept.trust.folder in the Sidecar document, or ' +
        'say --ca FILE',
    });
  }
  const path = join(intercept.trustFolder, CA_FILE);
  return parsed(await readFile(path, 'utf8').catch(unreadable(path)), path);
}

function unreadable(path: string): (cause: unknown) => never {
  return (cause) => {
    throw new Fault(
      'config-unreadable',
      `${path} cannot be read: ${Fault.from(cause, 'internal').message}`,
      { cause },
    );
  };
}

function parsed(pem: string, from: string): X509Certificate {
  try {
    const found = new X509Certificate(pem);
    if (found.ca) return found;
  } catch {
    // Told below, as what is no CA is.
  }
  throw new Fault('malformed', `${from} gave no certificate of a CA`, {
    hint: 'is that the sidecar?',
  });
}

const PATIENCE = 5000;
const LARGEST = 65_536;

/**
 * The certificate as a running sidecar shows it. Asked directly: whatever proxies the environment
 * names are for others.
 */
function page(host: string, port: number): Promise<string> {
  const where = `http://${host.includes(':') ? `[${host}]` : host}:${port}${INTERCEPTION_CA_PAGE}`;
  return new Promise((settle, reject) => {
    const failed = (problem: string, cause?: unknown): void =>
      reject(
        new Fault('listen', `${where} did not answer with the CA: ${problem}`, {
          hint: 'is the sidecar running with this configuration?',
          cause,
        }),
      );
    const asked = get(where, { agent: new Agent(), timeout: PATIENCE }, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > LARGEST) asked.destroy(new Error('it is too long'));
        else chunks.push(chunk);
      });
      answer.on('end', () => {
        if (answer.statusCode === 200) settle(Buffer.concat(chunks).toString('utf8'));
        else failed(`status ${answer.statusCode}`);
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${PATIENCE} ms`)));
    asked.on('error', (cause) => failed(cause.message, cause));
  });
}
