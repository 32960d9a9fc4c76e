/**
 * Where the key of the interception authority lives: in memory, or in a folder that the sidecar
 * alone enters. Rules:
 * - a folder that is open to group or others, belongs to somebody else or is a link is refused, and
 *   so is such a file;
 * - the key is written whole and with mode 0600 before it has its name, and never over another: of
 *   two that start at one time both use the first one's;
 * - a file that is there and is not such a key is refused, not replaced: running programs trust
 *   whatever it was.
 */
import {
  createPrivateKey,
  createPublicKey,
  randomBytes,
  webcrypto,
  type webcrypto as WebCrypto,
} from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, mkdir, open, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';

export interface KeptKey {
  readonly keys: WebCrypto.CryptoKeyPair;
  /** DER of the public key. */
  readonly spki: Uint8Array;
  readonly kept: 'memory' | 'tmpfs' | 'disk';
}

export const KEY_FILE = 'interception.key.pem';

const ALGORITHM = Object.freeze({ name: 'ECDSA', namedCurve: 'P-256' });
const LARGEST = 8192;
/** File systems that live in memory (statfs(2)): tmpfs, ramfs. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** A fresh key that is nowhere else. */
export async function newKeyPair(): Promise<KeptKey> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  return { keys, spki: await spkiOf(keys), kept: 'memory' };
}

/**
 * The key of the folder, which is made (0700) and filled when it is not there. Throws a Fault
 * `intercept-ca`.
 */
export async function keyInFolder(folder: string): Promise<KeptKey> {
  await guardFolder(folder);
  const path = join(folder, KEY_FILE);
  const kept = IN_MEMORY.has((await statfs(folder)).type) ? 'tmpfs' : 'disk';
  const pem = (await read(path)) ?? (await write(folder, path));
  const keys = await imported(pem, path);
  return { keys, spki: await spkiOf(keys), kept };
}

async function guardFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw refused(
      folder,
      'cannot be made',
      'name a folder that the sidecar may make or write to',
      cause,
    );
  });
  const found = await lstat(folder);
  if (!found.isDirectory())
    throw refused(folder, 'is no folder', 'name a folder itself, not a link to one');
  guard(folder, found, 'chmod 700 it');
}

function guard(
  path: string,
  { mode, uid }: { readonly mode: number; readonly uid: number },
  fix: string,
): void {
  const ours = process.geteuid?.() ?? uid;
  if (uid !== ours)
    throw refused(
      path,
      `belongs to user ${uid}`,
      'it must belong to the user that runs the sidecar, and to nobody else',
    );
  if ((mode & 0o077) !== 0)
    throw refused(
      path,
      `is open to others (mode ${(mode & 0o777).toString(8)})`,
      `${fix}: whoever reads the key can pose as every intercepted host`,
    );
}

/** The key's PEM; undefined when there is none. */
async function read(path: string): Promise<string | undefined> {
  const file = await open(
    path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch((cause: unknown) => {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw refused(
      path,
      'cannot be opened',
      'it must be a file, no link, and readable to the sidecar',
      cause,
    );
  });
  if (file === undefined) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile() || found.size > LARGEST) throw refused(path, 'is no key file', 'remove it');
    guard(path, found, 'chmod 600 it');
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function write(folder: string, path: string): Promise<string> {
  const { keys } = await newKeyPair();
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const pem = String(
    createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({
      type: 'pkcs8',
      format: 'pem',
    }),
  );
  const draft = join(folder, `.${KEY_FILE}.${randomBytes(8).toString('hex')}`);
  try {
    await writeFile(draft, pem, { mode: 0o600, flag: 'wx', flush: true });
    await link(draft, path);
    return pem;
  } catch (cause) {
    const first =
      cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
        ? await read(path)
        : undefined;
    if (first !== undefined) return first;
    throw refused(
      folder,
      'cannot take the key',
      'it must be writable to the sidecar and on a file system with links',
      cause,
    );
  } finally {
    await rm(draft, { force: true });
  }
}

async function imported(pem: string, path: string): Promise<WebCrypto.CryptoKeyPair> {
  try {
    const secret = createPrivateKey(pem);
    const shown = createPublicKey(secret);
    if (secret.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw new Error('another kind of key');
    const [privateKey, publicKey] = await Promise.all([
      webcrypto.subtle.importKey(
        'pkcs8',
        secret.export({ type: 'pkcs8', format: 'der' }),
        ALGORITHM,
        true,
        ['sign'],
      ),
      webcrypto.subtle.importKey(
        'spki',
        shown.export({ type: 'spki', format: 'der' }),
        ALGORITHM,
        true,
        ['verify'],
      ),
    ]);
    return { privateKey, publicKey };
  } catch {
    // What was in the file is not told: it may be most of a key.
    throw refused(
      path,
      'holds no EC P-256 private key',
      'remove it: a new one is made, and running programs must then load the new CA',
    );
  }
}

async function spkiOf({ publicKey }: WebCrypto.CryptoKeyPair): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.exportKey('spki', publicKey));
}

function refused(path: string, problem: string, hint: string, cause?: unknown): Fault {
  const reason = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
  return new Fault('intercept-ca', `the key of the interception CA: ${path} ${problem}${reason}`, {
    hint,
    cause,
  });
}
