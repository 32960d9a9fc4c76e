/**
 * `tls.roots`: PEM files, read and checked when the document is loaded, so that a missing or wrong
 * one is found before traffic is.
 */
import { X509Certificate } from 'node:crypto';
import { Fault } from '../../base/fault.ts';
import { readBounded, whyUnread } from '../../base/read-file.ts';

/** Bytes of one file. */
const MOST = 16 << 20;

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/**
 * The certificates of a PEM file, one text each. Fault `config` when it cannot be read, has none,
 * or holds anything else.
 */
export async function readRoots(path: string): Promise<readonly string[]> {
  const bytes = await readBounded(path, { most: MOST }).catch((failure: unknown) => {
    throw bad(
      `${path} cannot be read (${whyUnread(failure)})`,
      'look at the path and its permissions; a relative one begins at the folder of the document',
    );
  });
  const blocks = [...bytes.toString('utf8').matchAll(BLOCK)];
  if (blocks.length === 0)
    throw bad(
      `${path} holds no PEM certificate`,
      'write a file of -----BEGIN CERTIFICATE----- blocks',
    );
  return blocks.map(([block, label]) => {
    if (label !== 'CERTIFICATE')
      throw bad(
        `${path} holds a ${label}`,
        'roots are certificates alone: take everything else out of the file',
      );
    return checked(path, block);
  });
}

function checked(path: string, block: string): string {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(block);
  } catch (error) {
    throw bad(
      `${path} holds a block that is no certificate (${Fault.from(error, 'config').message})`,
      'export it again',
    );
  }
  if (!certificate.ca)
    throw bad(
      `${path} holds a certificate that is no CA (${certificate.subject.replaceAll('\n', ', ')})`,
      'write the root that issued it',
    );
  return certificate.toString();
}

function bad(message: string, hint: string): Fault {
  return new Fault('config', message, { hint });
}
