/** A secret that the operator keeps in a file: visible characters, enough of them. Its text goes nowhere but to whoever asked for it. */
import { readFile } from 'node:fs/promises';
import { Fault } from '../base/fault.ts';

const SHORTEST = 32;

/** Without the white space around it. @throws Fault `config-unreadable` that names the file */
export async function readSecret(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new Fault('config-unreadable', `the secret in ${path} cannot be read`, { cause });
  });
  const secret = text.trim();
  if (/^[!-~]+$/.test(secret) && secret.length >= SHORTEST) return secret;
  throw new Fault('config-unreadable', `${path} holds no usable secret`, {
    hint: `write ${SHORTEST} or more random visible characters into it`,
  });
}
