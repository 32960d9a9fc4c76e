/**
 * The roots of the web: those of the system, or the ones that come with the engine where the system has none (an image without ca-certificates). Interception CAs are left
 * out: the variables by which programs trust them reach this process too when it is started from the same shell, and an upstream must never be vouched for by one.
 */
import { X509Certificate } from 'node:crypto';
import { getCACertificates, rootCertificates } from 'node:tls';
import { SUBJECT_PREFIX } from './interception.ts';

/** PEM texts. */
export function systemRoots(): readonly string[] {
  // The engine tells what it found in the file and under each link of the folder.
  const system = new Set(getCACertificates('system').map((pem) => pem.trim()));
  return [...(system.size > 0 ? system : rootCertificates)].filter((pem) => !isInterceptionCa(pem));
}

const ORGANISATION = SUBJECT_PREFIX.split(',')[0] ?? '';

function isInterceptionCa(pem: string): boolean {
  return new X509Certificate(pem).subject.split('\n').includes(ORGANISATION);
}
