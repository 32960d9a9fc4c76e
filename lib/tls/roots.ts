/**
 * The roots that programs of this machine trust: those of the system, or the ones that come with
 * the engine where the system has none (an image without ca-certificates). Interception CAs are
 * left out: the variables that name ours may be set where we run, and it is added by itself, once.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { getCACertificates, rootCertificates } from 'node:tls';
import { STAND_IN } from './server-name.ts';

/** Where distributions keep all roots in one file. */
const FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/**
 * PEM texts. Where SSL_CERT_FILE stands in the way of the engine's own look, from the
 * distribution's file.
 */
export function systemRoots(
  env: Readonly<Record<string, string | undefined>> = {},
): readonly string[] {
  const file =
    (env['SSL_CERT_FILE'] ?? '') === '' ? undefined : FILES.find((path) => existsSync(path));
  // The engine tells what it found in the file and under each link of the folder.
  const pems =
    file === undefined
      ? getCACertificates('system')
      : (readFileSync(file, 'latin1').match(PEM) ?? []);
  const system = new Set(pems.map((pem) => pem.trim()));
  return [...(system.size > 0 ? system : rootCertificates)].filter((pem) => !isInterceptionCa(pem));
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** By its subject. */
export function isInterceptionCa(pem: string): boolean {
  return new X509Certificate(pem).subject.split('\n').includes(STAND_IN);
}
