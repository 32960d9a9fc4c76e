/**
 * What a program needs to trust the interception CA: files in a folder, and the variables that name
 * them. Some variables add to the roots a program has, most replace them: those get a file with the
 * roots of the system and ours, so that what is not intercepted keeps working. Only certificates
 * are written, never a key.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';
import { trustStore } from './pkcs12.ts';
import { NO_NAMED, type NamedRoots } from './named-roots.ts';
import { systemRoots } from '../tls/roots.ts';

/** Our CA alone: for variables that add. */
export const CA_FILE = 'ca.pem';
/** The roots of the system and our CA: for variables that replace. */
export const BUNDLE_FILE = 'bundle.pem';
/** The same for Java, which reads no PEM. */
export const STORE_FILE = 'truststore.p12';

/** What wget reads in place of ~/.wgetrc. */
export const WGET_FILE = 'chaperone.wgetrc';
/** What apt reads before its own. */
export const APT_FILE = 'chaperone.apt.conf';

export interface TrustContent {
  /** PEM texts; by default the roots of the system. */
  readonly roots?: readonly string[];
  /** What the environment of the program names already. */
  readonly named?: NamedRoots;
  /** Where the program sees the folder; by default where it is. */
  readonly mount?: string;
  /** The folder whose bundle apt is told of: apt reads it as a user of its own. */
  readonly apt?: string;
}

/** File name to content. */
export function trustFiles(
  folder: string,
  ca: X509Certificate,
  { roots = systemRoots(), named = NO_NAMED, mount = folder, apt = mount }: TrustContent = {},
): ReadonlyMap<string, string | Buffer> {
  const own = ca.toString();
  const all = [...new Set([...roots, ...named.all].map((pem) => pem.trim()))];
  const certificates = new Map<string, Uint8Array>([['chaperone interception', ca.raw]]);
  for (const [i, pem] of all.entries())
    certificates.set(`root ${i + 1}`, new X509Certificate(pem).raw);
  const text = (pems: readonly string[]): string =>
    [...pems.map((pem) => `${pem}\n`), own].join('');
  return new Map<string, string | Buffer>([
    [CA_FILE, text(named.adding)],
    [BUNDLE_FILE, text(all)],
    [STORE_FILE, trustStore(certificates)],
    [WGET_FILE, `ca_certificate = ${join(mount, BUNDLE_FILE)}\n`],
    [APT_FILE, `Acquire::https::CAInfo "${join(apt, BUNDLE_FILE)}";\n`],
  ]);
}

/**
 * Writes the files, readable to all, each of them whole before it has its name. Throws a Fault
 * `trust-files`.
 */
export async function writeTrust(
  folder: string,
  ca: X509Certificate,
  content: TrustContent = {},
): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    for (const [name, text] of trustFiles(folder, ca, content))
      await replace(join(folder, name), text);
  } catch (cause) {
    throw new Fault(
      'trust-files',
      `${folder} cannot be brought up to date: ${Fault.from(cause, 'internal').message}`,
      {
        hint: 'name a folder that is writable to whoever runs this',
        cause,
      },
    );
  }
}

async function replace(path: string, content: string | Buffer): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(draft, content, { flag: 'wx', flush: true });
    await chmod(draft, 0o644);
    await rename(draft, path);
  } catch (failure) {
    await rm(draft, { force: true });
    throw failure;
  }
}

/** A variable, which of the files it names, and who reads it. */
export interface TrustVariable {
  readonly name: string;
  readonly file: string;
  readonly readers: string;
}

export const TRUST_VARIABLES: readonly TrustVariable[] = Object.freeze([
  { name: 'NODE_EXTRA_CA_CERTS', file: CA_FILE, readers: 'Node.js, npm, Bun; adds' },
  { name: 'DENO_CERT', file: CA_FILE, readers: 'Deno; adds' },
  {
    name: 'SSL_CERT_FILE',
    file: BUNDLE_FILE,
    readers: 'OpenSSL, Go, Python ssl and httpx, Ruby, Rust with native roots, uv',
  },
  { name: 'REQUESTS_CA_BUNDLE', file: BUNDLE_FILE, readers: 'Python requests, pip' },
  { name: 'CURL_CA_BUNDLE', file: BUNDLE_FILE, readers: 'curl, Python requests' },
  { name: 'GIT_SSL_CAINFO', file: BUNDLE_FILE, readers: 'git' },
  { name: 'AWS_CA_BUNDLE', file: BUNDLE_FILE, readers: 'AWS CLI and SDKs' },
  { name: 'PIP_CERT', file: BUNDLE_FILE, readers: 'pip' },
  { name: 'CARGO_HTTP_CAINFO', file: BUNDLE_FILE, readers: 'cargo' },
  {
    name: 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
    file: BUNDLE_FILE,
    readers: 'gRPC core: C++, Python, Ruby; grpc-js',
  },
  { name: 'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE', file: BUNDLE_FILE, readers: 'gcloud' },
  { name: 'HTTPLIB2_CA_CERTS', file: BUNDLE_FILE, readers: 'Python httplib2 (Google API clients)' },
  { name: 'NIX_SSL_CERT_FILE', file: BUNDLE_FILE, readers: 'programs of Nix' },
  { name: 'WGETRC', file: WGET_FILE, readers: 'wget; in place of ~/.wgetrc' },
  { name: 'APT_CONFIG', file: APT_FILE, readers: 'apt; beside its own files' },
  { name: 'JAVA_TOOL_OPTIONS', file: STORE_FILE, readers: 'every JVM' },
]);

/** Name to value. `folder` is where the program sees the files. */
export function trustVariables(folder: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    TRUST_VARIABLES.map(({ name, file }) => [name, valueOf(join(folder, file), file)]),
  );
}

function valueOf(path: string, file: TrustVariable['file']): string {
  if (file !== STORE_FILE) return path;
  return `-Djavax.net.ssl.trustStore=${path} -Djavax.net.ssl.trustStoreType=PKCS12`;
}
