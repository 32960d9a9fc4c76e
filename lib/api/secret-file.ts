/**
 * A secret that the operator keeps in a file: visible characters, enough of them. Its text goes
 * nowhere but to whoever asked for it.
 */
import { Fault } from '../base/fault.ts';
import { readBounded, whyUnread } from '../base/read-file.ts';

const SHORTEST = 32;
/** Bytes of the file. */
const LONGEST = 65_536;

/** Without the white space around it. @throws Fault `config-unreadable` that names the file */
export async function readSecret(path: string): Promise<string> {
  const bytes = await readBounded(path, { most: LONGEST }).catch((cause: unknown) => {
    throw new Fault(
      'config-unreadable',
      `the secret in ${path} cannot be read (${whyUnread(cause)})`,
      {
        hint: 'look at the path and its permissions',
        cause,
      },
    );
  });
  const secret = bytes.toString('utf8').trim();
  if (/^[!-~]+$/.test(secret) && secret.length >= SHORTEST) return secret;
  throw new Fault('config-unreadable', `${path} holds no usable secret`, {
    hint: `write ${SHORTEST} or more random visible characters into it`,
  });
}
