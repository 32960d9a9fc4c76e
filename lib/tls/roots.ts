/**
 * The roots that programs of this machine trust: those of the system, or the ones that come with the engine where the system has none (an image without
 * ca-certificates). Interception CAs are left out: the variables that name ours may be set where we run, and it is added by itself, once.
 */
import { X509Certificate } from 'node:crypto';
import { getCACertificates, rootCertificates } from 'node:tls';
import { STAND_IN } from './server-name.ts';

/** PEM texts. */
export function systemRoots(): readonly string[] {
  // The engine tells what it found in the file and under each link of the folder.
  const system = new Set(getCACertificates('system').map((pem) => pem.trim()));
  return [...(system.size > 0 ? system : rootCertificates)].filter((pem) => !isInterceptionCa(pem));
}

function isInterceptionCa(pem: string): boolean {
  return new X509Certificate(pem).subject.split('\n').includes(STAND_IN);
}
